"""`export-onnx`: checkpoints -> a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .shared.options import (
    DecoderWeights,
    Force,
    HiFiGANPath,
    LexiconFile,
    PrecisionChoice,
    Published,
    Tacotron2Path,
    Version,
    WaveGlowPath,
    find_checkpoints,
    print_status,
    read_lexicon,
    report_int8_decoder,
)

if TYPE_CHECKING:
    from ..export.voice import VoiceFile


def export_onnx(
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle: a folder that will be created.")],
    tacotron2: Tacotron2Path = None,
    waveglow: WaveGlowPath = None,
    hifigan: HiFiGANPath = None,
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
        typer.Option(help="Symbols in id order: a JSON list, or one per line.", show_default="the voice file's"),
    ] = None,
    cleaners: Annotated[
        Optional[list[str]],
        typer.Option(help="Text cleaner; repeatable.", show_default="the voice file's"),
    ] = None,
    lexicon: LexiconFile = None,
    precision: Annotated[PrecisionChoice, typer.Option(help="Precision of the graphs.")] = PrecisionChoice.fp32,
    decoder_weights: Annotated[
        DecoderWeights, typer.Option(help="int8: also write a decoder with 8-bit weights, for CPUs.")
    ] = DecoderWeights.fp32,
    max_batch: Annotated[int, typer.Option(min=1, help="Largest decoder batch.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens per utterance.")] = 256,
    max_frames: Annotated[
        Optional[int], typer.Option(min=1, help="Most frames per utterance.", show_default="the checkpoint's")
    ] = None,
    force: Force = False,
    version: Version = False,
) -> None:
    """Export a Tacotron 2 and a WaveGlow or HiFi-GAN as a bundle of ONNX graphs, and check it against PyTorch."""
    from ..export.voice import VoiceFile, read_voice_file, with_text_options
    from ..runtime.bundle.folders import check_replaceable
    from ..runtime.bundle.reading import MANIFEST_NAME

    checkpoints = find_checkpoints(tacotron2, waveglow, hifigan, demo, pretrained)
    voice_path = config or checkpoints.voice
    name = checkpoints.name or checkpoints.tacotron2.stem
    voice: VoiceFile = VoiceFile(name=name) if voice_path is None else read_voice_file(voice_path)
    voice = with_text_options(voice, symbols, cleaners, read_lexicon(lexicon))
    check_replaceable(output, force)
    if (output / MANIFEST_NAME).is_file():
        print_status(f"{output}: holds a bundle, which the new one will replace")
    start = time.perf_counter()
    print_status("loading PyTorch and the checkpoints")
    from ..export.bundle import Limits
    from ..export.bundle import export_onnx as export

    manifest = export(
        *checkpoints.load(voice.audio.get("hop_length")),
        output,
        precision.value,
        voice,
        Limits(max_batch, max_tokens, max_frames),
        print_status,
        force,
        decoder_weights.value,
    )
    assert manifest.parity is not None
    stop = manifest.parity.stop_frames
    print_status(f"pipeline      checked against PyTorch: stops at frame {stop[1]}, PyTorch at {stop[0]}")
    if manifest.int8_decoder is not None:
        report_int8_decoder(manifest.int8_decoder)
    print_status(f"{output}: {manifest.voice.name!r} in {precision.value}, {time.perf_counter() - start:.0f} s")
    print_status(f'now: trt-infer {output} "Hello world, I missed you." -o hello.wav')
