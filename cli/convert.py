"""`tacoglow convert`: any accepted checkpoint -> safetensors and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .shared.options import Force, HiFiGANPath, Tacotron2Path, WaveGlowPath, print_status

if TYPE_CHECKING:
    from ..models import Tacotron2, Vocoder


def convert(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for NAME.safetensors and NAME.json.")],
    tacotron2: Tacotron2Path = None,
    waveglow: WaveGlowPath = None,
    hifigan: HiFiGANPath = None,
    hop_length: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Samples per frame, if the WaveGlow does not state them.", show_default="as published"
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write checkpoints of any family as safetensors and JSON, which every command accepts in their place."""
    from ..runtime.errors import ExportError
    from ..runtime.files import check_writable

    if tacotron2 is None and waveglow is None and hifigan is None:
        raise ExportError("give at least one of --tacotron2 T.pt, --waveglow W.pt and --hifigan G.pt")
    check_writable(output, "-o", is_folder=True)
    given = {"tacotron2": tacotron2, "waveglow": waveglow, "hifigan": hifigan}
    if not force:
        _check_replaceable(output, [name for name, path in given.items() if path is not None])
    from ..models import load_hifigan, load_tacotron2, load_waveglow
    from ..runtime.bundle.folders import created_directory

    # Load all before writing any, so that an invalid checkpoint leaves the folder unchanged.
    models = {
        "tacotron2": None if tacotron2 is None else load_tacotron2(tacotron2),
        "waveglow": None if waveglow is None else load_waveglow(waveglow, hop_length),
        "hifigan": None if hifigan is None else load_hifigan(hifigan),
    }
    with created_directory(output):
        for name, model in models.items():
            if model is not None:
                print_status(f"{name:13} {model.family}")
                print_status(f"{_write(model, name, output)}: written; give it as --{name}")


def _check_replaceable(folder: Path, names: list[str]) -> None:
    """Raise ExportError if the folder contains files of these names that convert has not written."""
    from ..models.safetensors_format import SUFFIX
    from ..runtime.errors import ExportError

    for name in names:
        weights, description = folder / f"{name}{SUFFIX}", folder / f"{name}.json"
        existing = [path for path in (weights, description) if path.exists() or path.is_symlink()]
        if existing and not _is_description(description):
            raise ExportError(
                f"{existing[0]}: exists but was not written by tacoglow convert; choose another folder with -o, or "
                "replace it with --force"
            )


def _is_description(path: Path) -> bool:
    """True if the file is a description that convert wrote; it is small, so a large file is not one."""
    from ..models.safetensors_format import FORMAT

    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size < 1 << 20 else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _write(model: Tacotron2 | Vocoder, name: str, folder: Path) -> Path:
    """Write NAME.safetensors and NAME.json; returns the path of the former."""
    from ..models.safetensors_format import SUFFIX, encode_model
    from ..runtime.files import atomic_write

    weights, description = encode_model(model, name)
    path = folder / f"{name}{SUFFIX}"
    atomic_write(path, weights)
    atomic_write(path.with_suffix(".json"), description)
    return path
