"""`tacoglow export-triton`: a bundle in, a model repository for NVIDIA Triton out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..runtime.serving import DEFAULT_MODEL
from .options import print_status


class BackendChoice(str, Enum):
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"


def export_triton(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model repository; created, or added to.")],
    name: Annotated[str, typer.Option(help="The voice's name on the server.")] = DEFAULT_MODEL,
    model_version: Annotated[int, typer.Option(min=1, help="The voice's version on the server.")] = 1,
    backend: Annotated[
        BackendChoice, typer.Option(help="onnxruntime for CPUs, tensorrt for GPUs.")
    ] = BackendChoice.onnxruntime,
    instances: Annotated[int, typer.Option(min=1, help="Processes of each text model (on every GPU).")] = 1,
    gpu: Annotated[
        Optional[list[int]], typer.Option(help="Index of a GPU; again for a second one.", show_default="all")
    ] = None,
    threads: Annotated[
        Optional[int], typer.Option(min=1, help="CPU threads of an instance.", show_default="all usable cores")
    ] = None,
    max_batch: Annotated[
        Optional[int], typer.Option(min=1, help="Texts spoken together.", show_default="the bundle's limit")
    ] = None,
    queue_delay: Annotated[
        float, typer.Option(min=0, help="Milliseconds that a text waits for others to share its batch.")
    ] = 5.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; one more is refused.")] = 256,
    streams: Annotated[int, typer.Option(min=1, help="Streams that one instance serves in turn.")] = 4,
    max_characters: Annotated[int, typer.Option(min=1, help="Of one text; a longer one is refused.")] = 5_000,
) -> None:
    """Write a model repository that tritonserver loads as it is: whole speech, streams, and the plain graphs."""
    from ..export.triton.configs import ServingOptions
    from ..export.triton.repository import export_triton as export

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
    )
    models = export(bundle, output, name, model_version, options)
    print_status(f"{output}: {', '.join(models)}, version {model_version}")
    print_status(f"now: tritonserver --model-repository {output}, where tacoglow is installed (docs/serving.md)")
