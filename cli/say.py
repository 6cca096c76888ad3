"""`tacoglow say`, `tacoglow infer` and `trt-infer`: text in, audio files out, from a bundle or from a Triton server."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..triton_server import DEFAULT_MODEL
from .lists.encoding import as_utf8
from .lists.lines import STANDARD_INPUT, ListFormat, Shard, count_lines, no_phrase, read_lines, read_text
from .shared.options import (
    COMPUTE_HELP,
    AttentionStop,
    AttentionWindow,
    ComputeChoice,
    DecoderChoice,
    DecoderOption,
    Demo,
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
    Ssml,
    TrimSilence,
    Version,
    Volume,
    WavOption,
    complete_backend,
    given_options,
    hardware_option,
    output_option,
    read_lexicon,
    speech_option,
    text_option,
    voice_option,
)
from .shared.outputs import FormatChoice, plan_outputs
from .shared.reports import audio_report, print_json, stream_report
from .shared.voice import find_bundle, load_voice, speak_text

NEED_LIST = ("--format", "--strict", "--resume", "--shard")
NEED_SERVER = ("--model", "--timeout", "--max-seconds")
# Given together with --url, which sends only the text, the seed and the speech's options.
NEED_BUNDLE = (
    *("--input", *NEED_LIST, "--backend", "--device", "--engines", "--decoder", "--compute", "--threads"),
    *("--demo", "--normalizer", "--vocoder-only", "--plot", "--timestamps", "--json"),
)
# Given together with --vocoder-only, which decodes nothing.
WITH_MEL = {
    *(
        "--demo",
        "--vocoder-only",
        "--output",
        "--audio-format",
        "--wav",
        "--seed",
        "--sigma",
        "--denoise",
        "--rate",
        "--volume",
    ),
    *("--backend", "--device", "--engines", "--decoder", "--compute", "--threads"),
}


def say(
    ctx: typer.Context,
    bundle: Annotated[
        Optional[str],
        typer.Argument(
            help="Folder written by export-onnx, or hf://OWNER/VOICE[@REVISION]; with --demo or --url, TEXT stands in "
            "its place.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Optional[str],
        typer.Argument(help="Text to synthesize; - or nothing: from standard input; or use -i."),
    ] = None,
    input_file: Annotated[
        Optional[Path],
        text_option("-i", "--input", help="List of texts, one per line; - is standard input. One file per text."),
    ] = None,
    list_format: Annotated[
        Optional[ListFormat],
        text_option("--format", help="Of the list: lines, or LJSpeech's id|text|normalised.", show_default="detected"),
    ] = None,
    strict: Annotated[bool, text_option("--strict", help="With -i: stop at the first line that is not good.")] = False,
    resume: Annotated[
        bool, text_option("--resume", help="With -i: keep files that the same call has made already.")
    ] = False,
    shard: Annotated[
        Optional[str],
        text_option(
            metavar="K/N",
            help="With -i: speak every N-th line from the K-th; the files' names are the same whatever N.",
            show_default="all lines",
        ),
    ] = None,
    normalizer: NormalizerOption = None,
    lexicon: LexiconFile = None,
    ssml: Ssml = False,
    vocoder_only: Annotated[
        Optional[Path],
        text_option(help="Vocode this mel spectrogram (.npy or .pt, bands x frames) instead of synthesizing a text."),
    ] = None,
    demo: Demo = False,
    url: Annotated[
        Optional[str], voice_option(help="Speak on this Triton server instead: http://HOST:8000 or grpc://HOST:8001.")
    ] = None,
    model: Annotated[
        Optional[str],
        voice_option(
            help="With --url: name of the voice on the server, export-triton's --name.", show_default="tacoglow"
        ),
    ] = None,
    timeout: Annotated[
        float, voice_option(min=0.1, help="With --url: seconds to wait for the server's next response.")
    ] = 60.0,
    max_seconds: Annotated[
        float, voice_option(min=0.1, help="With --url: seconds to wait for the complete speech.")
    ] = 600.0,
    seed: Annotated[int, speech_option(help="The same seed gives the same speech on every backend, in any batch.")] = 0,
    rate: Rate = 1.0,
    volume: Volume = 1.0,
    sentence_silence: SentenceSilence = None,
    trim_silence: TrimSilence = False,
    sigma: Sigma = None,
    denoise: Denoise = 0.0,
    gate_threshold: GateThreshold = None,
    max_frames: MaxFrames = None,
    retries: Retries = None,
    attention_stop: AttentionStop = None,
    attention_window: AttentionWindow = None,
    output: Annotated[
        Optional[Path],
        output_option(
            "-o",
            "--output",
            help="Audio file; with -i a folder for 0001.wav, 0002.wav, …, or one file for all.",
            show_default="speech.wav; with -i speech",
        ),
    ] = None,
    audio_format: Annotated[
        Optional[FormatChoice], output_option(help="Format of the audio.", show_default="by -o's suffix, otherwise wav")
    ] = None,
    wav: WavOption = None,
    stream: Annotated[
        bool, output_option("--stream", help="Write one file while it is synthesized; -o - writes to standard output.")
    ] = False,
    raw: Raw = False,
    plot: Annotated[
        Optional[Path], output_option(help="Plot mel, alignment and gate into this file; with -i, into this folder.")
    ] = None,
    timestamps: Annotated[
        Optional[str],
        output_option(
            help="Write when each word is spoken into this .json, .srt or .vtt file; with -i into a folder: json, srt "
            "or vtt, one file beside each audio file.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Annotated[
        bool, output_option("--json", help="Print timings and facts as JSON to standard output.")
    ] = False,
    backend: Annotated[
        str,
        hardware_option(
            help="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda, onnxruntime, openvino, torchscript",
            autocompletion=complete_backend,
        ),
    ] = "auto",
    threads: Annotated[
        Optional[int], hardware_option(min=1, help="CPU threads.", show_default="all usable cores")
    ] = None,
    device: Annotated[Optional[int], hardware_option(min=0, help="Index of the GPU.", show_default="0")] = None,
    engines: Engines = None,
    decoder: DecoderOption = DecoderChoice.engine,
    compute: Annotated[ComputeChoice, hardware_option(help=COMPUTE_HELP)] = ComputeChoice.fp32,
    version: Version = False,
) -> None:
    """Synthesize TEXT, or every line of a list, with a bundle or on a Triton server."""
    from ..runtime.bundle.reading import load_manifest
    from ..runtime.errors import RequestError
    from ..runtime.noise import Noise
    from ..runtime.options import SpeechOptions

    given = given_options(ctx)
    has_bundle = True
    if demo or url is not None:  # TEXT stands in the bundle's place
        has_bundle = text is not None
        bundle, text = None, text or bundle
    _check_given(given, has_bundle, has_text=text is not None, is_piped=str(output) == "-")
    options = SpeechOptions(
        sigma=sigma,
        denoise=denoise,
        gate_threshold=gate_threshold,
        max_frames=max_frames,
        retries=retries,
        attention_stop=attention_stop,
        attention_window=attention_window,
        rate=rate,
        volume=volume,
        sentence_silence=sentence_silence,
        trim_silence=trim_silence,
        lexicon=read_lexicon(lexicon),
        ssml=ssml,
    )
    part = None if shard is None else Shard.parse(shard)
    Noise(seed)  # rejects a seed out of range before anything is fetched or loaded
    folder = None if url is not None else find_bundle(bundle, demo)
    outputs = plan_outputs(
        output,
        bundle=folder,
        texts=input_file,
        stream=stream,
        audio_format=audio_format,
        wav=wav,
        raw=raw,
        plot=plot,
        times=timestamps,
    )
    if resume and not outputs.is_folder:
        raise RequestError(f"--resume: {outputs.path} is one file for all lines; name a folder, or leave it out")
    if part is not None and not outputs.is_folder:
        raise RequestError(f"--shard: {outputs.path} is one file for all lines; name a folder, or leave it out")
    if folder is None:
        from ..triton_server.client import connect
        from ..triton_server.contract import SpeechRequest
        from .shared.remote import speak_remotely, stream_remotely

        client, request = connect(str(url), timeout, max_seconds), SpeechRequest(_text(text), seed, options)
        if stream:
            outputs.stream(*stream_remotely(client, request, model or DEFAULT_MODEL))
        else:
            outputs.save(speak_remotely(client, request, model or DEFAULT_MODEL))
        return
    load_manifest(folder)  # a wrong folder is noticed before standard input is read
    count = None if input_file is None else count_lines(input_file)  # a missing file is noticed now
    if input_file is not None and count == 0:
        raise no_phrase(input_file)
    spoken_text = _text(text) if input_file is None and vocoder_only is None else ""
    voice = load_voice(
        folder,
        backend=backend,
        device=device,
        threads=threads,
        engines=engines,
        decoder=decoder,
        compute=compute,
        normalizer=normalizer,
    )
    if vocoder_only is not None:
        from .shared.mel_file import read_mel

        outputs.save(voice.vocode(read_mel(vocoder_only), seed, options))
    elif input_file is not None:
        from .lists.speaker import ListSpeaker

        lines = read_lines(input_file, list_format)
        speaker = ListSpeaker(
            synthesizer=voice,
            outputs=outputs,
            source=input_file,
            lines=lines if part is None else part.select(lines),
            count=count if part is None or count is None else part.count(count),
            shard=part,
            seed=seed,
            options=options,
            strict=strict,
            has_bar=not as_json,
        )
        code = speaker.speak(stream, resume)
        if as_json:
            reports = [speaker.reports[number] for number in sorted(speaker.reports)]
            print_json(voice, reports, skipped=speaker.skipped)
        if code:
            raise typer.Exit(code)
    else:
        start = time.perf_counter()
        if stream:
            segments = voice.stream(spoken_text, seed, options=options, timestamps=timestamps is not None)
            outputs.stream(segments, segments.sampling_rate)
            outputs.save_times(segments.words, segments.characters, segments.sampling_rate)
            report = stream_report(spoken_text, segments, seed, time.perf_counter() - start)
        else:
            audio = speak_text(voice, spoken_text, seed, options, has_bar=not as_json)
            outputs.save(audio, voice=voice.manifest, gate_threshold=gate_threshold)
            report = audio_report(spoken_text, audio, seed)
        if as_json:
            print_json(voice, [{"file": str(outputs.path), **report}])


def _check_given(given: set[str], has_bundle: bool, has_text: bool, is_piped: bool) -> None:
    """Raise RequestError for options that contradict each other or would have no effect. is_piped: -o -"""
    from ..runtime.errors import RequestError

    if "--demo" in given and has_bundle:
        raise RequestError("--demo: it is the bundle; give TEXT alone")
    if "--url" in given:
        if has_bundle:
            raise RequestError("--url: the server has the voice; give TEXT alone, without a bundle")
        for option in NEED_BUNDLE:
            if option in given:
                raise RequestError(f"{option}: a server cannot do that; leave it out, or --url")
    for option in NEED_SERVER:
        if option in given and "--url" not in given:
            raise RequestError(f"{option}: needs --url; leave it out")
    if has_text and "--input" in given:
        raise RequestError("give either TEXT or -i FILE, not both")
    for option in NEED_LIST:
        if option in given and "--input" not in given:
            raise RequestError(f"{option}: needs -i FILE; leave it out")
    if "--json" in given and is_piped:
        raise RequestError("--json: standard output is taken by -o -; name a file with -o, or leave out --json")
    if "--raw" in given and "--stream" not in given:
        raise RequestError("--raw: needs --stream")
    if "--plot" in given and "--stream" in given:
        raise RequestError("--plot: a stream does not keep what it needs; leave out --stream")
    if "--vocoder-only" in given:
        if has_text:
            raise RequestError("--vocoder-only: replaces the text; leave out TEXT")
        for option in sorted(given - WITH_MEL):
            raise RequestError(f"{option}: has no effect with --vocoder-only, which decodes nothing; leave it out")


def _text(text: str | None) -> str:
    from ..runtime.errors import RequestError

    if text is not None and text != str(STANDARD_INPUT):
        return as_utf8(text)
    is_missing = text is None and (sys.stdin is None or sys.stdin.isatty())
    content = "" if is_missing else read_text()
    if text is None and not content.strip():
        raise RequestError("give TEXT or -i FILE, or pipe a text into standard input")
    return content
