"""`tacoglow say`: text in, a wav file or a stream out, synthesized by a Triton server."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..runtime.serving import DEFAULT_MODEL
from .options import AttentionStop, Denoise, GateThreshold, MaxFrames, Raw, Retries, Sigma, Wav, WavOption

if TYPE_CHECKING:
    from ..runtime.serving.contract import Response
    from ..runtime.vocoder import Samples


def say(
    text: Annotated[str, typer.Argument(help="Text to synthesize.")],
    url: Annotated[str, typer.Option(help="Address of the server: http://HOST:8000 or grpc://HOST:8001.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Wav file; - with --stream: standard output.")] = Path(
        "speech.wav"
    ),
    model: Annotated[
        str, typer.Option(help="Name of the voice on the server: export-triton's --name.")
    ] = DEFAULT_MODEL,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same speech.")] = 0,
    denoise: Denoise = 0.0,
    sigma: Sigma = None,
    gate_threshold: GateThreshold = None,
    max_frames: MaxFrames = None,
    retries: Retries = 0,
    attention_stop: AttentionStop = False,
    stream: Annotated[bool, typer.Option("--stream", help="Write the speech while it is being synthesized.")] = False,
    raw: Raw = False,
    wav: WavOption = Wav.int16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server's next response.")] = 60.0,
) -> None:
    """Synthesize TEXT on a Triton server."""
    from ..runtime.errors import RequestError
    from ..runtime.files import check_writable
    from ..runtime.noise import Noise
    from ..runtime.options import SpeechOptions
    from ..runtime.serving.client import connect
    from ..runtime.serving.contract import SpeechRequest

    Noise(seed)
    options = SpeechOptions(sigma, denoise, gate_threshold, max_frames, retries, attention_stop)
    request, client = SpeechRequest(text, seed, options), connect(url, timeout)
    if stream:
        _write_stream(client.stream(request, model), output, raw, wav)
        return
    if raw or str(output) == "-":
        raise RequestError(f"{'--raw' if raw else '-o -'}: needs --stream")
    check_writable(output, "-o", is_folder=False)
    from ..runtime.audio import Audio

    response = client.say(request, model)
    _report(response)
    audio = Audio(response.samples, response.sampling_rate, ())
    audio.save(output, wav.value)
    print(f"{output}: {audio.seconds:.2f} s of audio", file=sys.stderr)


def _write_stream(responses: Iterator[Response], output: Path, raw: bool, wav: Wav) -> None:
    from ..runtime.wav_writer import open_output, write_stream

    first = next(responses)  # before the output is opened, so that an invalid request cannot truncate an existing file

    def samples() -> Iterator[Samples]:
        for response in itertools.chain([first], responses):
            _report(response)
            yield response.samples

    with open_output(output) as sink:
        write_stream([samples()], None if raw else first.sampling_rate, wav.value, sink)


def _report(response: Response) -> None:
    if response.warning:
        print(f"warning: {response.warning}", file=sys.stderr)
    if response.stop_reason == "frame_limit":
        print("warning: the gate did not fire before the frame limit: the speech may be cut off", file=sys.stderr)
