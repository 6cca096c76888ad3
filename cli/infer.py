"""`trt-infer` and `tacoglow infer`: a bundle and text -> audio files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .lists.lines import STANDARD_INPUT, ListFormat, count_lines, read_lines, read_text
from .shared.interrupt import completed_at_interrupt
from .shared.options import (
    AttentionStop,
    DecoderChoice,
    DecoderOption,
    Denoise,
    Engines,
    GateThreshold,
    LexiconFile,
    MaxFrames,
    NormalizerOption,
    Rate,
    Raw,
    Retries,
    SentenceSilence,
    Sigma,
    Volume,
    WavOption,
    print_status,
    read_lexicon,
)
from .shared.outputs import FormatChoice, Outputs, check_outputs_apart, plan_outputs

if TYPE_CHECKING:
    from ..runtime.options import SpeechOptions
    from ..runtime.output.growing import SpeechOutput
    from ..runtime.synthesizer import Synthesizer
    from .lists.speaker import ListSpeaker


def infer(
    bundle: Annotated[Path, typer.Argument(help="Folder written by export-onnx.")],
    text: Annotated[
        Optional[str], typer.Argument(help="Text to synthesize; - or nothing: from standard input; or use -i.")
    ] = None,
    input_file: Annotated[
        Optional[Path],
        typer.Option("-i", "--input", help="List of texts, one per line; - is standard input. One file per text."),
    ] = None,
    list_format: Annotated[
        Optional[ListFormat],
        typer.Option("--format", help="Of the list: lines, or LJSpeech's id|text|normalised.", show_default="detected"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="With -i: stop at the first line that is not good.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="With -i: keep files that the same call has made already.")
    ] = False,
    output: Annotated[
        Optional[Path],
        typer.Option(
            "-o",
            "--output",
            help="Audio file; with -i a folder for 0001.wav, 0002.wav, …, or one file for all.",
            show_default="speech.wav; with -i speech",
        ),
    ] = None,
    audio_format: Annotated[
        Optional[FormatChoice], typer.Option(help="Format of the audio.", show_default="by -o's suffix, otherwise wav")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same speech on every backend, in any batch.")] = 0,
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda, onnxruntime, torchscript")
    ] = "auto",
    device: Annotated[Optional[int], typer.Option(min=0, help="Index of the GPU.", show_default="0")] = None,
    engines: Engines = None,
    decoder: DecoderOption = DecoderChoice.auto,
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads.", show_default="all usable cores")] = None,
    sigma: Sigma = None,
    denoise: Denoise = 0.0,
    gate_threshold: GateThreshold = None,
    max_frames: MaxFrames = None,
    retries: Retries = 0,
    attention_stop: AttentionStop = False,
    rate: Rate = 1.0,
    volume: Volume = 1.0,
    sentence_silence: SentenceSilence = None,
    normalizer: NormalizerOption = None,
    lexicon: LexiconFile = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Write one file while it is synthesized; -o - writes to standard output."),
    ] = False,
    raw: Raw = False,
    vocoder_only: Annotated[
        Optional[Path],
        typer.Option(help="Vocode this mel spectrogram [bands, frames] (.npy, .pt) instead of synthesizing a text."),
    ] = None,
    wav: WavOption = None,
    plot: Annotated[
        Optional[Path], typer.Option(help="Plot mel, alignment and gate into this file; with -i, into this folder.")
    ] = None,
    timestamps: Annotated[
        Optional[str],
        typer.Option(
            help="Write when each word is spoken into this .json, .srt or .vtt file; with -i into a folder: json, srt "
            "or vtt, one file beside each audio file.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print timings and facts as JSON to standard output.")
    ] = False,
) -> None:
    """Synthesize TEXT, or every line of a list, with a bundle."""
    from ..runtime.errors import RequestError
    from ..runtime.options import SpeechOptions

    _check_options(text, input_file, list_format, strict, resume, stream, raw, plot)
    options = SpeechOptions(
        sigma,
        denoise,
        gate_threshold,
        max_frames,
        retries,
        attention_stop,
        rate,
        volume,
        sentence_silence,
        read_lexicon(lexicon),
    )
    outputs = plan_outputs(output, plot, input_file is not None, stream, audio_format, wav, raw, timestamps)
    if as_json and str(outputs.path) == "-":
        raise RequestError("--json: standard output is taken by -o -; name a file with -o, or leave out --json")
    check_outputs_apart(outputs, bundle, [] if input_file is None else [input_file])
    if resume and not outputs.is_folder:
        raise RequestError(f"--resume: {outputs.path} is one file for all lines; name a folder, or leave it out")
    if vocoder_only is not None:
        if text is not None or input_file is not None or stream or plot is not None or timestamps or as_json:
            raise RequestError(
                "--vocoder-only: replaces the text; leave out TEXT, -i, --stream, --plot, --timestamps and --json"
            )
        if normalizer is not None:
            raise RequestError("--normalizer: rewrites texts; leave it out with --vocoder-only")
        if options != SpeechOptions(sigma, denoise, rate=rate, volume=volume):
            raise RequestError("--vocoder-only: decodes nothing; give --sigma, --denoise, --rate and --volume alone")
        _vocode(_load(bundle, backend, device, threads, engines, decoder), vocoder_only, outputs, seed, options)
        return
    count = None if input_file is None else count_lines(input_file)  # a missing file is noticed now
    spoken_text = _text(text) if input_file is None else ""
    synthesizer = _load(bundle, backend, device, threads, engines, decoder, normalizer)
    if input_file is None:
        skipped: list[dict[str, Any]] = []
        reports = _speak_text(synthesizer, spoken_text, seed, options, outputs, stream)
        code = 0
    else:
        from .lists.speaker import ListSpeaker

        lines = read_lines(input_file, list_format)
        speaker = ListSpeaker(synthesizer, input_file, lines, count, seed, options, strict, normalizer)
        _speak_list(speaker, outputs, stream, resume)
        code = speaker.finish()
        reports, skipped = [speaker.reports[number] for number in sorted(speaker.reports)], speaker.skipped
    if as_json:
        lists = {} if input_file is None else {"skipped": skipped}
        print(json.dumps({"backend": synthesizer.backend.name, "utterances": reports, **lists}, indent=1))
    if code:
        raise typer.Exit(code)


def _vocode(synthesizer: Synthesizer, mel_file: Path, outputs: Outputs, seed: int, options: SpeechOptions) -> None:
    from .shared.mel_file import read_mel
    from .shared.reports import save_audio

    save_audio(synthesizer, synthesizer.vocode(read_mel(mel_file), seed, options), outputs, "", options)


def _check_options(
    text: str | None,
    input_file: Path | None,
    list_format: ListFormat | None,
    strict: bool,
    resume: bool,
    stream: bool,
    raw: bool,
    plot: Path | None,
) -> None:
    """Raises RequestError for an option that would have no effect."""
    from ..runtime.errors import RequestError

    if text is not None and input_file is not None:
        raise RequestError("give either TEXT or -i FILE, not both")
    needs_list = {"--format": list_format is not None, "--strict": strict, "--resume": resume}
    for option, is_given in needs_list.items():
        if is_given and input_file is None:
            raise RequestError(f"{option}: needs -i FILE; leave it out")
    if raw and not stream:
        raise RequestError("--raw: needs --stream")
    if plot is not None and stream:
        raise RequestError("--plot: a stream does not keep what it needs; leave out --stream")


def _text(text: str | None) -> str:
    from ..runtime.errors import RequestError

    if text is not None and text != str(STANDARD_INPUT):
        return text
    is_missing = text is None and (sys.stdin is None or sys.stdin.isatty())
    content = "" if is_missing else read_text()
    if text is None and not content.strip():
        raise RequestError("give TEXT or -i FILE, or pipe a text into standard input")
    return content


def _load(
    bundle: Path,
    backend: str,
    device: int | None,
    threads: int | None,
    engines: Path | None,
    decoder: DecoderChoice,
    normalizer: str | None = None,
) -> Synthesizer:
    from ..runtime.backends.cuda.driver import find_driver
    from ..runtime.synthesizer import Synthesizer

    synthesizer = Synthesizer.load(bundle, backend, device or 0, threads, engines, decoder.value, normalizer)
    opened = synthesizer.backend
    driver = None if opened.runs_asynchronously else find_driver()
    # Where there is a GPU that is not used, the user should know why; the other reasons are in `tacoglow doctor`.
    print_status(opened.choice if driver is not None and driver.gpus else f"{opened.device} ({opened.name})")
    if opened.decoder:
        print_status(f"decoder: {opened.decoder}")
    without_effect = {
        "--device": device is not None and not opened.runs_asynchronously,
        "--decoder": decoder is not DecoderChoice.auto and not opened.runs_asynchronously,
        "--threads": threads is not None and opened.runs_asynchronously,
        "--engines": engines is not None and not opened.name.startswith("tensorrt"),
    }
    for option, is_given in without_effect.items():
        if is_given:
            print_status(f"warning: {option}: has no effect with the backend {opened.name}")
    return synthesizer


def _speak_text(
    synthesizer: Synthesizer, text: str, seed: int, options: SpeechOptions, outputs: Outputs, stream: bool
) -> list[dict[str, Any]]:
    """Speak one text; returns its report."""
    from .shared.reports import audio_report, save_audio, save_times, stream_report

    if not stream:
        audio = synthesizer.say(text, seed, options)
        save_audio(synthesizer, audio, outputs, "", options)
        return [audio_report(text, outputs.path, audio, seed)]
    segments = synthesizer.stream(text, seed, options=options, timestamps=outputs.times is not None)
    start = time.perf_counter()
    with _growing_output(synthesizer, outputs) as sink:
        sink.write_all(segments)
    if outputs.times is not None:
        save_times(outputs.times, segments.words, segments.characters)
    return [stream_report(text, outputs.path, segments, seed, time.perf_counter() - start)]


def _speak_list(speaker: ListSpeaker, outputs: Outputs, stream: bool, resume: bool) -> None:
    if outputs.is_folder:
        speaker.speak_into_folder(outputs, resume)
        return
    with _growing_output(speaker.synthesizer, outputs) as sink:
        if stream:
            speaker.stream_joined(outputs, sink)
        else:
            speaker.speak_joined(outputs, sink)
        if not speaker.reports:
            sink.discard()


@contextmanager
def _growing_output(synthesizer: Synthesizer, outputs: Outputs) -> Iterator[SpeechOutput]:
    """One file or pipe that is written while speech is made; prints its length at the end."""
    from ..runtime.output.growing import SpeechOutput

    rate, start = synthesizer.manifest.audio.sampling_rate, time.perf_counter()
    output = SpeechOutput(outputs.path, rate, outputs.audio_format, outputs.wav_format, outputs.raw)
    with completed_at_interrupt(output) as sink:
        yield sink
    if sink.seconds:
        name = "standard output" if str(outputs.path) == "-" else outputs.path
        print_status(f"{name}: {sink.seconds:.2f} s of audio in {time.perf_counter() - start:.2f} s")
