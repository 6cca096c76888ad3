"""Sends a request to a served voice over gRPC and records how its client experiences the response."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from ..runtime.serving import DEFAULT_MODEL, STREAM_SUFFIX
from ..runtime.serving.contract import INPUTS, OUTPUTS, Response, SpeechRequest

Kind = Literal["whole", "stream"]  # complete speech in one response, or a stream of segments
BUFFER_SECONDS = 1.0  # a player's wait after the first segment, which is short, so that the second arrives in time


@dataclass
class ClientResult:
    """One request as its client experienced it; times are in seconds since the request was sent."""

    latency: float = 0.0  # until the last sample
    arrivals: list[tuple[float, float]] = field(default_factory=list)  # (time, audio seconds) of each segment
    error: str | None = None

    @property
    def audio_seconds(self) -> float:
        return sum(seconds for _, seconds in self.arrivals)

    @property
    def is_real_time(self) -> bool:
        """True if playback that starts BUFFER_SECONDS after the first segment never has to wait for a later one."""
        played_until = self.arrivals[0][0] + BUFFER_SECONDS
        for arrival, seconds in self.arrivals:
            if arrival > played_until:
                return False
            played_until += seconds
        return True


async def measure_request(client: InferenceServerClient, kind: Kind, text: str, seed: int) -> ClientResult:
    """Send one request and wait until its response is complete or the server reports an error."""
    result, start = ClientResult(), time.perf_counter()
    try:
        async for response in _responses(client, kind, text, seed):
            if len(response.samples):
                result.arrivals.append((time.perf_counter() - start, len(response.samples) / response.sampling_rate))
    except InferenceServerException as error:
        result.error = error.message()
    result.latency = time.perf_counter() - start
    return result


async def infer(client: InferenceServerClient, text: str, seed: int) -> Response:
    """Request complete speech."""
    return _read(await client.infer(DEFAULT_MODEL, _inputs(text, seed)))


async def _responses(client: InferenceServerClient, kind: Kind, text: str, seed: int) -> AsyncIterator[Response]:
    if kind == "whole":
        yield await infer(client, text, seed)
        return

    async def one_request() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": DEFAULT_MODEL + STREAM_SUFFIX, "inputs": _inputs(text, seed)}

    async for result, error in client.stream_infer(one_request()):
        if error is not None:
            raise error
        yield _read(result)


def _read(result: Any) -> Response:
    return Response.read({name: result.as_numpy(name) for name in OUTPUTS})


def _inputs(text: str, seed: int) -> list[InferInput]:
    inputs = []
    for name, array in SpeechRequest(text, seed).tensors().items():
        inputs.append(InferInput(name, list(array.shape), "BYTES" if INPUTS[name] == "STRING" else INPUTS[name]))
        inputs[-1].set_data_from_numpy(array)
    return inputs
