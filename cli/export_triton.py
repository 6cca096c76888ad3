"""`tacoglow export-triton`: a bundle in, a model repository for NVIDIA Triton out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..triton_server import DEFAULT_MODEL
from .shared.options import (
    COMPUTE_HELP,
    ComputeChoice,
    DecoderChoice,
    DecoderOption,
    Force,
    ProfileChoice,
    ProfileOption,
    print_status,
)


class BackendChoice(str, Enum):
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"


def export_triton(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Model repository; created if missing, else added to.")
    ],
    name: Annotated[str, typer.Option(help="Name of the voice on the server.")] = DEFAULT_MODEL,
    model_version: Annotated[int, typer.Option(min=1, help="Version of the voice on the server.")] = 1,
    backend: Annotated[
        BackendChoice, typer.Option(help="onnxruntime or openvino for CPUs, tensorrt for GPUs.")
    ] = BackendChoice.onnxruntime,
    instances: Annotated[
        int, typer.Option(min=1, help="Instances (processes) of each text model; with tensorrt, per GPU.")
    ] = 1,
    gpu: Annotated[Optional[list[int]], typer.Option(help="Index of a GPU; repeatable.", show_default="all")] = None,
    threads: Annotated[
        Optional[int], typer.Option(min=1, help="CPU threads per instance.", show_default="all usable cores")
    ] = None,
    compute: Annotated[ComputeChoice, typer.Option(help=COMPUTE_HELP)] = ComputeChoice.fp32,
    decoder: DecoderOption = DecoderChoice.engine,
    profile: ProfileOption = ProfileChoice.latency,
    max_batch: Annotated[
        Optional[int], typer.Option(min=1, help="Most texts per batch.", show_default="the bundle's limit")
    ] = None,
    queue_delay: Annotated[
        float, typer.Option(min=0, help="Longest wait of a text for others to share its batch, in milliseconds.")
    ] = 5.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Queue length; further requests are rejected.")] = 256,
    streams: Annotated[int, typer.Option(min=1, help="Concurrent streams per instance.")] = 4,
    max_characters: Annotated[int, typer.Option(min=1, help="Longest accepted text, in characters.")] = 5_000,
    max_retries: Annotated[int, typer.Option(min=0, max=100, help="Most retries of a request.")] = 3,
    max_frames: Annotated[
        Optional[int], typer.Option(min=1, help="Most frames of an utterance.", show_default="the bundle's limit")
    ] = None,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Longest computation for a request; it is then abandoned.")
    ] = 300.0,
    force: Force = False,
) -> None:
    """Write a model repository that NVIDIA Triton loads unchanged: complete speech, streams, and the plain graphs."""
    from ..triton_server.configs import ServingOptions
    from ..triton_server.repository import export_triton as export

    options = ServingOptions(
        backend.value,
        instances,
        tuple(gpu or ()),
        threads or 0,
        max_batch,
        round(queue_delay * 1000),
        max_queue,
        streams,
        max_characters,
        max_retries,
        max_frames or 0,
        max_seconds,
        compute.value,
        decoder.value,
        profile.value,
    )
    models = export(bundle, output, name, model_version, options, force)
    print_status(f"{output}: {', '.join(models)}, version {model_version}")
    print_status(
        f"next: tritonserver --model-repository {output}, with tacoglow installed in its Python (docs/triton.md)"
    )
