"""`tacoglow export-torchscript`: adds TorchScript modules to a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from .shared.options import Force, Published, find_checkpoints, print_status


def export_torchscript(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx; the modules are added to it.")],
    tacotron2: Annotated[Optional[Path], typer.Option(help="Tacotron 2 checkpoint of the bundle.")] = None,
    waveglow: Annotated[Optional[Path], typer.Option(help="WaveGlow checkpoint of the bundle.")] = None,
    hifigan: Annotated[Optional[Path], typer.Option(help="HiFi-GAN generator of the bundle.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The bundle is the voice that ships with the project.")] = False,
    pretrained: Annotated[
        Optional[Published], typer.Option(help="The bundle was exported from published checkpoints.")
    ] = None,
    force: Force = False,
) -> None:
    """Add TorchScript modules of the bundle's graphs, for LibTorch and the C++ runtime, checked against PyTorch."""
    checkpoints = find_checkpoints(tacotron2, waveglow, hifigan, demo, pretrained)
    from ..runtime.bundle.reading import load_manifest

    hop_length = load_manifest(bundle).audio.hop_length
    start = time.perf_counter()
    print_status("loading PyTorch and the checkpoints")
    from ..export.torchscript import export_torchscript as export

    manifest = export(*checkpoints.load(hop_length), bundle, print_status, force)
    assert manifest.torchscript is not None
    assert manifest.torchscript.parity is not None
    stop = manifest.torchscript.parity.stop_frames
    print_status(f"pipeline      checked against PyTorch: stops at frame {stop[1]}, PyTorch at {stop[0]}")
    print_status(f"{bundle}: TorchScript added, {manifest.precision}, {time.perf_counter() - start:.0f} s")
    print_status(f'now: trt-infer {bundle} "Hello world, I missed you." --backend torchscript -o hello.wav')
