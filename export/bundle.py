"""Writes a bundle atomically: the five graphs, and the manifest with its parity report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from .. import __version__
from ..models.denoiser import Denoiser
from ..models.tacotron2 import Tacotron2
from ..models.vocoder import Vocoder
from ..runtime.bundle.folders import atomic_directory
from ..runtime.bundle.manifest import (
    COUNT_MAX,
    FORMAT_MINOR,
    FORMAT_VERSION,
    DecoderSettings,
    DimRange,
    Ending,
    GraphSpec,
    HiFiGANSettings,
    Manifest,
    Precision,
    SynthesisSettings,
    Text,
    VocoderSettings,
    WaveGlowSettings,
)
from ..runtime.bundle.reading import file_sha256, load_manifest, write_manifest
from ..runtime.errors import ExportError
from ..runtime.synthesizer import Synthesizer
from .card import write_card
from .ending import measure_ending
from .graphs import DECODER_STATES, Graph, build_graphs
from .int8 import write_int8_decoder
from .parity import TOLERANCES, ParityReference, Progress, measure_parity
from .text_tables import write_text_tables
from .to_onnx import opset_for, write_onnx
from .untrained import untrained_rows
from .voice import VoiceFile, audio_format, final_mark, voice_entry, voice_symbols


@dataclass(frozen=True)
class Limits:
    """The largest dimensions of a bundle's graphs; engines and buffers are sized by them."""

    batch: int = 8  # utterances
    tokens: int = 256  # per utterance
    frames: int | None = None  # per utterance, rounded down to whole decoder steps; None: the checkpoint's limit

    def __post_init__(self) -> None:
        for name in ("batch", "tokens", "frames"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= COUNT_MAX:
                raise ExportError(f"limit max-{name}: expected 1 to {COUNT_MAX}, got {value}")


def export_onnx(
    tacotron2: Tacotron2,
    vocoder: Vocoder,
    bundle: str | Path,
    precision: Precision = "fp32",
    voice: VoiceFile | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda line: None,
    force: bool = False,
    decoder_weights: Literal["fp32", "int8"] = "fp32",
) -> Manifest:
    """Export two loaded models as a bundle, and return its manifest.

    An existing bundle is replaced when the new one is complete; other files in its folder stay. A model card is
    written too, unless the folder has a README.md of someone else. force: also accept a folder that is not a bundle,
    and replace files of the same names in it. progress is called with one line per graph written and one per graph
    compared. decoder_weights: "int8": also write a decoder step with 8-bit weights.
    Raises ExportError if the models do not match each other, if the exported graphs differ from them, or if the bundle
    cannot be written.
    """
    if precision not in TOLERANCES:
        raise ExportError(f"precision: expected one of {', '.join(TOLERANCES)}, got {precision!r}")
    voice, limits = voice or VoiceFile(), limits or Limits()
    denoiser = build_denoiser(tacotron2, vocoder, voice)
    graphs = build_graphs(tacotron2, vocoder, denoiser, precision)
    with atomic_directory(Path(bundle), force) as folder:
        manifest = write_unchecked(tacotron2, vocoder, graphs, folder, precision, voice, limits, progress)
        synthesizer = Synthesizer.load(folder, "onnxruntime")
        parity = measure_parity(synthesizer, ParityReference(tacotron2, vocoder, denoiser), progress)
        ending = measure_ending(synthesizer, voice.sentences)
        progress(_describe_ending(ending))
        decoder = msgspec.structs.replace(manifest.decoder, ending=ending)
        manifest = write_manifest(folder, manifest, parity=parity, decoder=decoder)
        if decoder_weights == "int8":
            write_int8_decoder(folder, manifest)
        manifest = load_manifest(folder)
    write_card(Path(bundle), manifest)
    return manifest


def build_denoiser(tacotron2: Tacotron2, vocoder: Vocoder, voice: VoiceFile) -> Denoiser:
    """Build the denoiser of a voice. Raises ExportError if the models do not match, or its window cannot be used."""
    audio = audio_format(voice, tacotron2, vocoder)
    try:
        return Denoiser(vocoder, audio.filter_length)
    except RuntimeError as error:
        raise ExportError(
            f"filter_length: the denoiser cannot use a window of {audio.filter_length} samples"
        ) from error


def write_unchecked(
    tacotron2: Tacotron2,
    vocoder: Vocoder,
    graphs: Sequence[Graph],
    folder: Path,
    precision: Precision,
    voice: VoiceFile,
    limits: Limits,
    progress: Progress,
) -> Manifest:
    """Write the graphs of a voice and a manifest without a parity report into an empty folder.

    Raises ExportError if a limit or a graph is not valid.
    """
    audio, frames = audio_format(voice, tacotron2, vocoder), _frame_limit(limits, tacotron2)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        format_minor=FORMAT_MINOR,
        digest="",  # encode_manifest fills it in
        generator=f"tacoglow {__version__}",
        voice=voice_entry(voice),
        audio=audio,
        text=_text(voice, tacotron2, folder),
        decoder=DecoderSettings(
            gate_threshold=tacotron2.config.gate_threshold,
            frames_per_step=tacotron2.config.n_frames_per_step,
            max_frames=frames,
            prenet_layers=len(tacotron2.decoder.prenet.layers),
            prenet_dim=tacotron2.config.prenet_dim,
            postnet_frames=tacotron2.config.postnet_context_frames,
            states=DECODER_STATES,
        ),
        vocoder=_vocoder_settings(vocoder, voice),
        synthesis=_synthesis_settings(vocoder),
        precision=precision,
        opset=opset_for(precision),
        dimensions={
            "B": DimRange(min=1, typical=1, max=limits.batch),
            "T": DimRange(min=1, typical=min(128, limits.tokens), max=limits.tokens),
            "F": DimRange(min=1, typical=min(600, frames), max=frames),
            "S": _sample_range(audio.hop_length, audio.filter_length, frames),
        },
        graphs={graph.name: _write_graph(graph, folder, precision, progress) for graph in graphs},
    )
    return write_manifest(folder, manifest)


def _text(voice: VoiceFile, tacotron2: Tacotron2, folder: Path) -> Text:
    symbols, rows = voice_symbols(voice, tacotron2), untrained_rows(tacotron2.embedding.weight.detach().float().numpy())
    return Text(
        symbols=symbols,
        cleaners=voice.cleaners,
        final_mark=final_mark(voice, symbols),
        tables=write_text_tables(folder),
        lexicon=voice.lexicon,
        untrained=tuple(symbol for symbol, is_untrained in zip(symbols, rows, strict=True) if is_untrained),
    )


def _describe_ending(ending: Ending | None) -> str:
    if ending is None:
        return "ending        not measured: most sentences did not end well, so only the gate and the limit end speech"
    return (
        f"ending        at most {ending.frames} + {ending.frames_per_token:.1f} frames per token, "
        f"{ending.attention_patience} on the last one"
    )


def _vocoder_settings(vocoder: Vocoder, voice: VoiceFile) -> VocoderSettings:
    before, after = vocoder.receptive_field_frames
    if vocoder.takes_noise:
        group_size, _ = vocoder.noise_shape(1)
        return WaveGlowSettings(group_size=group_size, sigma=voice.sigma, frames_before=before, frames_after=after)
    return HiFiGANSettings(frames_before=before, frames_after=after, min_frames=vocoder.min_frames)


def _synthesis_settings(vocoder: Vocoder) -> SynthesisSettings:
    context = vocoder.stream_context_frames
    return SynthesisSettings(
        window_frames=768,  # 8.9 s at 22,050 Hz and a hop of 256
        smallest_token_bucket=32,
        first_segment_frames=8,  # few, so that it is ready early
        segment_frames=64,
        context_frames=12 if context is None else context,
    )


def _frame_limit(limits: Limits, tacotron2: Tacotron2) -> int:
    frames, step = limits.frames or tacotron2.config.max_frames, tacotron2.config.n_frames_per_step
    if not step <= frames <= COUNT_MAX:
        raise ExportError(
            f"limit max-frames: expected {step}, the frames of one decoder step, to {COUNT_MAX}, got {frames}"
        )
    return frames - frames % step


def _sample_range(hop_length: int, filter_length: int, frames: int) -> DimRange:
    """Range of S: the denoiser mirrors half a window at each end, so it needs at least one window of audio."""
    longest = max(frames * hop_length, filter_length)
    return DimRange(min=filter_length, typical=max(filter_length, min(600, frames) * hop_length), max=longest)


def _write_graph(graph: Graph, folder: Path, precision: str, progress: Progress) -> GraphSpec:
    path = folder / f"{graph.name}.onnx"
    write_onnx(graph, path, precision)
    progress(f"{graph.name:13} written: {path.stat().st_size / 1e6:6.1f} MB")
    return GraphSpec(file=path.name, sha256=file_sha256(path), inputs=graph.inputs, outputs=graph.outputs)
