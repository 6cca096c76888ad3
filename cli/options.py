"""Options and helpers that several commands share."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from ..models import Tacotron2, WaveGlow


class PrecisionChoice(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Published(str, Enum):
    nvidia = "nvidia"


class DecoderChoice(str, Enum):
    auto = "auto"
    fused = "fused"
    engine = "engine"


class Wav(str, Enum):
    int16 = "int16"
    int24 = "int24"
    float32 = "float32"


Sigma = Annotated[
    Optional[float], typer.Option(help="Standard deviation of WaveGlow's noise.", show_default="the voice's")
]
Denoise = Annotated[float, typer.Option(help="Denoiser strength, e.g. 0.01; 0: off.")]
GateThreshold = Annotated[
    Optional[float],
    typer.Option(help="Gate probability above which the utterance ends.", show_default="the voice's"),
]
MaxFrames = Annotated[Optional[int], typer.Option(help="Frame limit of an utterance.", show_default="the voice's")]
Retries = Annotated[
    int, typer.Option(min=0, help="Retries, with new noise, for an utterance that reaches the frame limit.")
]
AttentionStop = Annotated[
    bool, typer.Option("--attention-stop", help="Also end the utterance when its attention stays on the last token.")
]
Raw = Annotated[bool, typer.Option("--raw", help="With --stream: samples only, without a wav header.")]
WavOption = Annotated[Optional[Wav], typer.Option(help="Sample format of a wav file.", show_default="int16")]
DecoderOption = Annotated[
    DecoderChoice,
    typer.Option("--decoder", help="On a GPU: fused runs the decoder as one kernel; auto does where that is proved."),
]
Engines = Annotated[Optional[Path], typer.Option(help="Folder of the engine cache.", show_default="the user's cache")]


def print_status(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


def load_models(tacotron2: Path, waveglow: Path, hop_length: float | None = None) -> tuple[Tacotron2, WaveGlow]:
    """Load both models and print their families. hop_length (samples): used if the WaveGlow does not state it."""
    from ..models import load_tacotron2, load_waveglow

    acoustic = load_tacotron2(tacotron2)
    print_status(f"tacotron2     {acoustic.family}")
    vocoder = load_waveglow(waveglow, None if hop_length is None else int(hop_length))
    print_status(f"waveglow      {vocoder.family}")
    return acoustic, vocoder


def find_checkpoints(
    tacotron2: Path | None, waveglow: Path | None, demo: bool, pretrained: Published | None
) -> tuple[Path, Path, Path | None]:
    """Paths of both checkpoints, and of the demo voice's file with --demo. Raises ExportError for bad options."""
    from ..export.errors import ExportError
    from ..export.voice import DEMO_FOLDER

    own = tacotron2 is not None or waveglow is not None
    if own + demo + (pretrained is not None) != 1:
        raise ExportError("give one of: --tacotron2 T.pt --waveglow W.pt, --pretrained nvidia, or --demo")
    if demo:
        return DEMO_FOLDER / "tacotron2.pt", DEMO_FOLDER / "waveglow.pt", DEMO_FOLDER / "voice.json"
    if pretrained is not None:
        from ..models.download import fetch_pretrained

        return fetch_pretrained("tacotron2"), fetch_pretrained("waveglow"), None
    if tacotron2 is None or waveglow is None:
        missing = "--tacotron2" if tacotron2 is None else "--waveglow"
        raise ExportError(f"{missing}: missing; a voice needs both checkpoints")
    return tacotron2, waveglow, None
