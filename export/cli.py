"""`export-onnx`: checkpoints in, a bundle out."""

from __future__ import annotations

import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from ..models import Tacotron2, WaveGlow
    from .voice import VoiceFile


class PrecisionChoice(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Published(str, Enum):
    nvidia = "nvidia"


def export_onnx(
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle: a folder that will be created.")],
    tacotron2: Annotated[Optional[Path], typer.Option(help="Tacotron 2 checkpoint.")] = None,
    waveglow: Annotated[Optional[Path], typer.Option(help="WaveGlow checkpoint.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Export the small voice that ships with the project.")] = False,
    pretrained: Annotated[
        Optional[Published], typer.Option(help="Export published checkpoints, fetched into a cache.")
    ] = None,
    config: Annotated[
        Optional[Path],
        typer.Option(help="Voice file (JSON): name, audio settings, symbols, cleaners.", show_default="NVIDIA's"),
    ] = None,
    symbols: Annotated[
        Optional[Path],
        typer.Option(help="Symbols in id order: a JSON list, or one a line.", show_default="the voice file's"),
    ] = None,
    cleaners: Annotated[
        Optional[list[str]],
        typer.Option(help="Cleaner of the text; again for a second one.", show_default="the voice file's"),
    ] = None,
    precision: Annotated[PrecisionChoice, typer.Option(help="Arithmetic of the graphs.")] = PrecisionChoice.fp32,
    max_batch: Annotated[int, typer.Option(min=1, help="Utterances decoded at once.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an utterance.")] = 256,
    max_frames: Annotated[
        Optional[int], typer.Option(min=1, help="Frames of an utterance.", show_default="the checkpoint's")
    ] = None,
) -> None:
    """Export a Tacotron 2 and a WaveGlow checkpoint as a bundle of ONNX graphs, and check it against PyTorch."""
    from .voice import VoiceFile, read_voice_file, with_text_options

    tacotron2, waveglow, demo_config = find_checkpoints(tacotron2, waveglow, demo, pretrained)
    voice_path = config or demo_config
    voice: VoiceFile = VoiceFile(name=tacotron2.stem) if voice_path is None else read_voice_file(voice_path)
    voice = with_text_options(voice, symbols, cleaners)
    start = time.perf_counter()
    say("loading PyTorch and the checkpoints")
    from .bundle import Limits
    from .bundle import export_onnx as export

    manifest = export(
        *load_models(tacotron2, waveglow, voice.audio.get("hop_length")),
        output,
        precision.value,
        voice,
        Limits(max_batch, max_tokens, max_frames),
        say,
    )
    assert manifest.parity is not None
    stop = manifest.parity.stop_frames
    say(f"pipeline      checked against PyTorch: stops at frame {stop[1]}, PyTorch at {stop[0]}")
    say(f"{output}: voice {manifest.voice.name!r}, {precision.value}, {time.perf_counter() - start:.0f} s")
    say(f'now: trt-infer {output} "Hello world, I missed you." -o hello.wav')


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load_models(tacotron2: Path, waveglow: Path, hop_length: float | None = None) -> tuple[Tacotron2, WaveGlow]:
    """Both models; whose checkpoints they are is said. hop_length, in samples: for a WaveGlow that doesn't state it."""
    from ..models import load_tacotron2, load_waveglow

    acoustic = load_tacotron2(tacotron2)
    say(f"tacotron2     {acoustic.family}")
    vocoder = load_waveglow(waveglow, None if hop_length is None else int(hop_length))
    say(f"waveglow      {vocoder.family}")
    return acoustic, vocoder


def find_checkpoints(
    tacotron2: Path | None, waveglow: Path | None, demo: bool, pretrained: Published | None
) -> tuple[Path, Path, Path | None]:
    """Paths of the two checkpoints, and of the voice file that comes with them."""
    from .errors import ExportError
    from .voice import DEMO_FOLDER

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
