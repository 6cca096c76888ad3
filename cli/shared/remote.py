"""Speaks a text on a Triton server, for `tacoglow say --url`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...triton_server import DEFAULT_MODEL
from .options import print_status

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.vocoder import Samples
    from ...triton_server.contract import Response
    from .outputs import Outputs

WARNING_CHARACTERS_MAX = 1000  # of a server's warning


def speak_remotely(
    text: str,
    seed: int,
    options: SpeechOptions,
    outputs: Outputs,
    *,
    stream: bool,
    url: str,
    model: str | None,
    timeout: float,
    max_seconds: float,
) -> None:
    """Send the text to the server at `url`, and write its speech. model: the voice there; None: the default's.

    timeout, max_seconds: for the server's next response, and for all of them.
    """
    from ...runtime.output.audio import Audio
    from ...triton_server.client import connect
    from ...triton_server.contract import SpeechRequest

    request, client = SpeechRequest(text, seed, options), connect(url, timeout, max_seconds)
    voice = DEFAULT_MODEL if model is None else model
    if stream:
        _write_stream(client.stream(request, voice), outputs)
        return
    response = client.say(request, voice)
    _report(response)
    outputs.save(Audio(response.samples, response.sampling_rate, ()))


def _write_stream(responses: Iterator[Response], outputs: Outputs) -> None:
    first = next(responses)

    def samples() -> Iterator[Samples]:
        for response in itertools.chain([first], responses):
            _report(response)
            yield response.samples

    with outputs.grow(first.sampling_rate) as sink:
        sink.write_all(samples())


def _report(response: Response) -> None:
    if response.warning:
        print_status(f"warning: {response.warning[:WARNING_CHARACTERS_MAX]}")
