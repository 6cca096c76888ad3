"""Speaks on a Triton server, for `tacoglow say --url`, and prints what the server warns of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .options import print_status

if TYPE_CHECKING:
    from ...runtime.output.audio import Audio
    from ...runtime.vocoder import Samples
    from ...triton_server.client import SpeechClient
    from ...triton_server.contract import Response, SpeechRequest

WARNING_CHARACTERS_MAX = 1000  # longest part of a server's warning that is printed


def speak_remotely(client: SpeechClient, request: SpeechRequest, model: str) -> Audio:
    from ...runtime.output.audio import Audio

    response = client.say(request, model)
    _report(response)
    return Audio(response.samples, response.sampling_rate, ())


def stream_remotely(client: SpeechClient, request: SpeechRequest, model: str) -> tuple[Iterator[Samples], int]:
    """Return the segments as they come, and their sampling rate in Hz."""
    responses = client.stream(request, model)
    first = next(responses)

    def samples() -> Iterator[Samples]:
        for response in itertools.chain([first], responses):
            _report(response)
            yield response.samples

    return samples(), first.sampling_rate


def _report(response: Response) -> None:
    if response.warning:
        print_status(f"warning: {response.warning[:WARNING_CHARACTERS_MAX]}")
