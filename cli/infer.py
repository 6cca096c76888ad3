"""`trt-infer` and `tacoglow infer`: a bundle and text -> wav files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .options import (
    AttentionStop,
    DecoderChoice,
    DecoderOption,
    Denoise,
    Engines,
    GateThreshold,
    MaxFrames,
    Raw,
    Retries,
    Sigma,
    Wav,
    WavOption,
    print_status,
)

if TYPE_CHECKING:
    from ..runtime.audio import Audio
    from ..runtime.options import SpeechOptions
    from ..runtime.synthesizer import Synthesizer


BATCHES_AT_A_TIME = 8  # bounds memory for long input files


def infer(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    text: Annotated[Optional[str], typer.Argument(help="Text to synthesize; or use -i.")] = None,
    input_file: Annotated[
        Optional[Path],
        typer.Option("-i", "--input", help="Text file, one phrase per line; one wav per phrase."),
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option(
            "-o",
            "--output",
            help="Wav file; with -i a folder for 0001.wav, 0002.wav, …",
            show_default="speech.wav; with -i speech",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same speech on every backend, in any batch.")] = 0,
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda, onnxruntime, torchscript")
    ] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Index of the GPU.")] = 0,
    engines: Engines = None,
    decoder: DecoderOption = DecoderChoice.auto,
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads.", show_default="all usable cores")] = None,
    sigma: Sigma = None,
    denoise: Denoise = 0.0,
    gate_threshold: GateThreshold = None,
    max_frames: MaxFrames = None,
    retries: Retries = 0,
    attention_stop: AttentionStop = False,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Write one wav while it is synthesized; -o - writes to standard output."),
    ] = False,
    raw: Raw = False,
    vocoder_only: Annotated[
        Optional[Path],
        typer.Option(help="Vocode this mel spectrogram [bands, frames] (.npy, .pt) instead of synthesizing a text."),
    ] = None,
    wav: WavOption = Wav.int16,
    plot: Annotated[
        Optional[Path], typer.Option(help="Plot mel, alignment and gate into this file; with -i, into this folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print timings and facts as JSON to standard output.")
    ] = False,
) -> None:
    """Synthesize TEXT, or every line of a file, with a bundle."""
    from ..runtime.errors import RequestError
    from ..runtime.options import SpeechOptions

    if vocoder_only is not None:
        if text is not None or input_file is not None or stream or plot is not None or as_json:
            raise RequestError("--vocoder-only: replaces the text; leave out TEXT, -i, --stream, --plot and --json")
        synthesizer = _load(bundle, backend, device, threads, engines, decoder)
        _vocode(synthesizer, vocoder_only, output or Path("speech.wav"), seed, SpeechOptions(sigma, denoise), wav)
        return
    phrases = _phrases(text, input_file)
    is_folder = input_file is not None and not stream
    output = output or Path("speech" if is_folder else "speech.wav")
    options = SpeechOptions(sigma, denoise, gate_threshold, max_frames, retries, attention_stop)
    if stream:
        synthesizer = _load(bundle, backend, device, threads, engines, decoder)
        _write_stream(synthesizer, phrases, seed, options, output, raw, wav)
        return
    outputs = _output_paths(output, plot, len(phrases), is_folder)
    if plot is not None:
        from ..runtime.plot import check_plot

        check_plot(outputs[0][1] or plot)  # all paths have the same suffix
    synthesizer = _load(bundle, backend, device, threads, engines, decoder)
    audios = _synthesize(synthesizer, phrases, seed, options)
    reports = []
    for phrase, audio, (wav_path, plot_path) in zip(phrases, audios, outputs, strict=True):
        _save(audio, wav_path, wav, plot_path, synthesizer.manifest.audio.hop_length)
        reports.append(_report(phrase, wav_path, audio, seed))
    if as_json:
        print(json.dumps({"backend": synthesizer.backend.name, "utterances": reports}, indent=1))


def _vocode(
    synthesizer: Synthesizer, mel_file: Path, output: Path, seed: int, options: SpeechOptions, wav: Wav
) -> None:
    from .mel_file import read_mel

    [(wav_path, _)] = _output_paths(output, None, 1, is_folder=False)
    audio = synthesizer.vocode(read_mel(mel_file), seed, options)
    wav_path.parent.mkdir(parents=True, exist_ok=True)
    audio.save(wav_path, wav.value)
    print_status(f"{wav_path}: {audio.seconds:.2f} s of audio in {audio.timings['vocoder']:.2f} s")


def _phrases(text: str | None, input_file: Path | None) -> list[str]:
    from ..runtime.errors import RequestError

    if (text is None) == (input_file is None):
        raise RequestError("give either TEXT or -i FILE" + ("" if text is None else ", not both"))
    if input_file is None:
        return [text or ""]
    try:
        lines = input_file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{input_file}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    phrases = [line for line in lines if line.strip()]
    if not phrases:
        raise RequestError(f"{input_file}: contains no phrase; write one per line")
    return phrases


def _output_paths(output: Path, plot: Path | None, count: int, is_folder: bool) -> list[tuple[Path, Path | None]]:
    """(wav, plot) paths of every phrase. Raises RequestError, before anything is computed, if one cannot be written."""
    from ..runtime.errors import RequestError
    from ..runtime.files import check_writable

    if str(output) == "-":
        raise RequestError("-o -: standard output needs --stream")
    check_writable(output, "-o", is_folder)
    if plot is not None:
        check_writable(plot, "--plot", is_folder)
    if not is_folder:
        return [(output, plot)]
    names = [f"{i:04d}" for i in range(1, count + 1)]
    return [(output / f"{name}.wav", plot / f"{name}.png" if plot else None) for name in names]


def _load(
    bundle: Path, backend: str, device: int, threads: int | None, engines: Path | None, decoder: DecoderChoice
) -> Synthesizer:
    from ..runtime.synthesizer import Synthesizer

    synthesizer = Synthesizer.load(bundle, backend, device, threads, engines, decoder.value)
    print_status(f"backend: {synthesizer.backend.choice}")
    if synthesizer.backend.decoder:
        print_status(f"decoder: {synthesizer.backend.decoder}")
    return synthesizer


def _write_stream(
    synthesizer: Synthesizer,
    phrases: list[str],
    seed: int,
    options: SpeechOptions,
    output: Path,
    raw: bool,
    wav: Wav,
) -> None:
    from ..runtime.wav_writer import open_output, write_stream

    # Create the streams before opening the output, so that an invalid request cannot truncate an existing file.
    streams = [synthesizer.stream(phrase, seed, options=options) for phrase in phrases]
    with open_output(output) as sink:
        write_stream(streams, None if raw else synthesizer.manifest.audio.sampling_rate, wav.value, sink)


def _synthesize(synthesizer: Synthesizer, phrases: list[str], seed: int, options: SpeechOptions) -> Iterator[Audio]:
    """Synthesize the phrases in order, a few batches at a time, so that memory does not grow with their number."""
    size = BATCHES_AT_A_TIME * synthesizer.manifest.range("B").max
    for start in range(0, len(phrases), size):
        group = phrases[start : start + size]
        yield from synthesizer.say_batch(group, [seed] * len(group), options)


def _save(audio: Audio, path: Path, wav: Wav, plot: Path | None, hop_length: int) -> None:
    """Write the wav file, and the plot if there is a path for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.save(path, wav.value)
    if plot is not None:
        from ..runtime.plot import save_plot

        plot.parent.mkdir(parents=True, exist_ok=True)
        save_plot(audio, plot, hop_length)
    print_status(f"{path}: {audio.seconds:.2f} s of audio in {sum(audio.timings.values()):.2f} s")


def _report(phrase: str, path: Path, audio: Audio, seed: int) -> dict[str, object]:
    compute = sum(audio.timings.values())
    return {
        "text": phrase,
        "file": str(path),
        "seed": seed,
        "audio_seconds": audio.seconds,
        "sampling_rate": audio.sampling_rate,
        "frames": [utterance.mel.shape[1] for utterance in audio.utterances],
        "stop_reason": audio.stop_reason,
        "stop_reasons": [utterance.stop_reason for utterance in audio.utterances],
        "seconds": {stage: round(seconds, 6) for stage, seconds in audio.timings.items()},
        "rtf": audio.seconds / compute if compute else None,
    }
