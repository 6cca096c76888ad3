"""`tacoglow quantize`: adds a decoder with 8-bit weights to a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .shared.options import Force, print_status, report_int8_decoder


def quantize(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx; the decoder is added to it.")],
    force: Force = False,
) -> None:
    """Add a decoder with 8-bit weights for CPUs, compared with the float32 one, which stays."""
    start = time.perf_counter()
    from ..export.int8 import quantize_decoder

    manifest = quantize_decoder(bundle, force)
    assert manifest.int8_decoder is not None
    report_int8_decoder(manifest.int8_decoder)
    print_status(f"{bundle}: 8-bit decoder added, {time.perf_counter() - start:.0f} s")
    print_status(f'now: trt-infer {bundle} "Hello world, I missed you." --compute int8 -o hello.wav')
