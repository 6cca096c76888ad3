"""The model that returns complete speech; requests that Triton's dynamic batcher groups share batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..audio import Audio
from ..errors import Cancelled, DeadlineExceeded
from ..options import SpeechOptions
from ..synthesizer import Synthesizer
from .contract import Response, SpeechRequest, read_request
from .python_backend import ServedVoice, error_response, exit_with_parent, read_tensors, speech_response


class WholeModel:
    """Triton's model interface."""

    def initialize(self, arguments: dict[str, str]) -> None:
        exit_with_parent()
        self._served = ServedVoice.load(arguments)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return one response per request, in order. Requests with equal options are synthesized together."""
        responses: dict[int, Any] = {}
        parsed: dict[int, tuple[SpeechRequest, str]] = {}
        groups: dict[SpeechOptions, list[int]] = {}
        for i, request in enumerate(requests):
            try:
                parsed[i] = read_request(read_tensors(request), self._served.voice, self._served.limits)
                groups.setdefault(parsed[i][0].options, []).append(i)
            except Exception as error:
                responses[i] = error_response(error)
        for rows in groups.values():
            results = synthesize_batch(
                self._served.voice,
                [parsed[i][0] for i in rows],
                [requests[i].is_cancelled for i in rows],
                self._served.limits.deadline(),
            )
            responses |= {i: _response(*parsed[i], result) for i, result in zip(rows, results, strict=True)}
        return [responses[i] for i in range(len(requests))]


def synthesize_batch(
    voice: Synthesizer,
    requests: Sequence[SpeechRequest],
    cancelled: Sequence[Callable[[], bool]],
    deadline: float | None = None,
) -> list[Audio | Exception]:
    """Synthesize requests with equal options as one batch, which is abandoned once all of them are cancelled.

    cancelled: one function per request. deadline: time.monotonic() at which the batch is abandoned. If the batch fails,
    each request is synthesized alone, so that only the faulty ones fail.
    """
    options = replace(
        requests[0].options, cancelled=lambda: all(is_cancelled() for is_cancelled in cancelled), deadline=deadline
    )
    texts, seeds = [request.text for request in requests], [request.seed for request in requests]
    try:
        return [*voice.say_batch(texts, seeds, options)]
    except (Cancelled, DeadlineExceeded) as error:
        return [error] * len(requests)
    except Exception as error:
        if len(requests) == 1:
            return [error]
        return [
            synthesize_batch(voice, [request], [stop], deadline)[0]
            for request, stop in zip(requests, cancelled, strict=True)
        ]


def _response(request: SpeechRequest, warning: str, result: Audio | Exception) -> Any:
    if isinstance(result, Exception):
        return error_response(result)
    response = Response(result.samples, result.sampling_rate, result.stop_reason, warning)
    return speech_response(response.tensors(request.encoding))
