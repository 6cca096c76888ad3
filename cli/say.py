"""`tacoglow say`: text in, a wav file or a stream out, synthesized by a Triton server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..triton_server import DEFAULT_MODEL
from .shared.interrupt import completed_at_interrupt
from .shared.options import (
    AttentionStop,
    Denoise,
    GateThreshold,
    MaxFrames,
    Rate,
    Raw,
    Retries,
    SentenceSilence,
    Sigma,
    Volume,
    WavOption,
    print_status,
)

if TYPE_CHECKING:
    from ..runtime.vocoder import Samples
    from ..triton_server.contract import Response
    from .shared.outputs import Outputs

WARNING_CHARACTERS_MAX = 1000  # of a server's warning


def say(
    text: Annotated[str, typer.Argument(help="Text to synthesize.")],
    url: Annotated[str, typer.Option(help="Address of the server: http://HOST:8000 or grpc://HOST:8001.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Audio file; - with --stream: standard output.")
    ] = Path("speech.wav"),
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
    rate: Rate = 1.0,
    volume: Volume = 1.0,
    sentence_silence: SentenceSilence = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write the speech while it is being synthesized.")] = False,
    raw: Raw = False,
    wav: WavOption = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server's next response.")] = 60.0,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the complete speech.")] = 600.0,
) -> None:
    """Synthesize TEXT on a Triton server."""
    from ..runtime.errors import RequestError
    from ..runtime.noise import Noise
    from ..runtime.options import SpeechOptions
    from ..triton_server.client import connect
    from ..triton_server.contract import SpeechRequest
    from .shared.outputs import plan_outputs

    Noise(seed)
    options = SpeechOptions(
        sigma, denoise, gate_threshold, max_frames, retries, attention_stop, rate, volume, sentence_silence
    )
    request, client = SpeechRequest(text, seed, options), connect(url, timeout, max_seconds)
    if raw and not stream:
        raise RequestError("--raw: needs --stream")
    outputs = plan_outputs(output, None, False, stream, None, wav, raw)
    if stream:
        _write_stream(client.stream(request, model), outputs)
        return
    from ..runtime.output.audio import Audio

    response = client.say(request, model)
    _report(response)
    audio = Audio(response.samples, response.sampling_rate, ())
    audio.save(output, outputs.wav_format, outputs.audio_format)
    print_status(f"{output}: {audio.seconds:.2f} s of audio")


def _write_stream(responses: Iterator[Response], outputs: Outputs) -> None:
    from ..runtime.output.growing import SpeechOutput

    first = next(responses)

    def samples() -> Iterator[Samples]:
        for response in itertools.chain([first], responses):
            _report(response)
            yield response.samples

    output = SpeechOutput(outputs.path, first.sampling_rate, outputs.audio_format, outputs.wav_format, outputs.raw)
    with completed_at_interrupt(output) as sink:
        sink.write_all(samples())


def _report(response: Response) -> None:
    if response.warning:
        print_status(f"warning: {response.warning[:WARNING_CHARACTERS_MAX]}")
    if response.stop_reason == "frame_limit":
        print_status("warning: the gate did not fire before the frame limit: the speech may be cut off")
