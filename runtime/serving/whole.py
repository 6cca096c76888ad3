"""The model that answers a text with its whole speech; what Triton's dynamic batcher brings together is one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..audio import Audio
from ..errors import Cancelled
from ..options import SpeechOptions
from ..synthesizer import Synthesizer
from .contract import Response, SpeechRequest, read_request
from .python_backend import ServedVoice, read_tensors, refuse, respond


class WholeModel:
    """Triton calls these by name."""

    def initialize(self, arguments: dict[str, str]) -> None:
        self._served = ServedVoice.load(arguments)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A response for each request, in order. Requests of equal options are spoken together."""
        responses: dict[int, Any] = {}
        asked: dict[int, tuple[SpeechRequest, str]] = {}
        groups: dict[SpeechOptions, list[int]] = {}
        for i, request in enumerate(requests):
            try:
                asked[i] = read_request(read_tensors(request), self._served.voice, self._served.max_characters)
                groups.setdefault(asked[i][0].options, []).append(i)
            except Exception as error:
                responses[i] = refuse(error)
        for rows in groups.values():
            results = speak_together(
                self._served.voice, [asked[i][0] for i in rows], [requests[i].is_cancelled for i in rows]
            )
            responses |= {i: _response(*asked[i], result) for i, result in zip(rows, results, strict=True)}
        return [responses[i] for i in range(len(requests))]


def speak_together(
    voice: Synthesizer, requests: Sequence[SpeechRequest], cancelled: Sequence[Callable[[], bool]]
) -> list[Audio | Exception]:
    """Speak requests of equal options as one batch; it is abandoned when every one of them has been cancelled.

    Where the batch fails, each is spoken alone, so that one request's failure is its own.
    """
    options = replace(requests[0].options, cancelled=lambda: all(is_cancelled() for is_cancelled in cancelled))
    try:
        return [*voice.say_batch([asked.text for asked in requests], [asked.seed for asked in requests], options)]
    except Cancelled as error:
        return [error] * len(requests)
    except Exception as error:
        if len(requests) == 1:
            return [error]
        pairs = zip(requests, cancelled, strict=True)
        return [result for asked, stop in pairs for result in speak_together(voice, [asked], [stop])]


def _response(asked: SpeechRequest, warning: str, result: Audio | Exception) -> Any:
    if isinstance(result, Exception):
        return refuse(result)
    response = Response(result.samples, result.sampling_rate, result.stop_reason, warning)
    return respond(response.tensors(asked.encoding))
