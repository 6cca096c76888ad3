"""`tacoglow convert`: any accepted checkpoint in, safetensors and JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .cli import say

if TYPE_CHECKING:
    from ..models import Tacotron2, WaveGlow


def convert(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for NAME.safetensors and NAME.json.")],
    tacotron2: Annotated[Optional[Path], typer.Option(help="Tacotron 2 checkpoint.")] = None,
    waveglow: Annotated[Optional[Path], typer.Option(help="WaveGlow checkpoint.")] = None,
    hop_length: Annotated[
        Optional[int],
        typer.Option(min=1, help="Samples a frame, for a WaveGlow that doesn't state it.", show_default="as published"),
    ] = None,
) -> None:
    """Write checkpoints of any family as safetensors and JSON, which every command here takes in their place."""
    from ..runtime.files import check_writable
    from .errors import ExportError

    if tacotron2 is None and waveglow is None:
        raise ExportError("give --tacotron2 T.pt, --waveglow W.pt, or both")
    check_writable(output, "-o", is_folder=True)
    from ..models import load_tacotron2, load_waveglow
    from .folders import made_folder

    # Both are read before either is written, so that a bad one leaves the folder as it was.
    models = {
        "tacotron2": None if tacotron2 is None else load_tacotron2(tacotron2),
        "waveglow": None if waveglow is None else load_waveglow(waveglow, hop_length),
    }
    with made_folder(output):
        for name, model in models.items():
            if model is not None:
                say(f"{name:13} {model.family}")
                say(f"{_write(model, name, output)}: written; give it as --{name}")


def _write(model: Tacotron2 | WaveGlow, name: str, folder: Path) -> Path:
    from ..models.safetensors_format import SUFFIX, encode_model
    from ..runtime.files import write_whole

    weights, description = encode_model(model, name)
    path = folder / f"{name}{SUFFIX}"
    write_whole(path, weights)
    write_whole(path.with_suffix(".json"), description)
    return path
