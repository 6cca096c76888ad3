"""Sends a request to a served voice over gRPC and records how its client experiences the response."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from ...triton_server import DEFAULT_MODEL, STREAM_SUFFIX
from ...triton_server.client import infer_inputs
from ...triton_server.contract import OUTPUTS, Response, SpeechRequest
from ..client_result import ClientResult, Kind


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
    return _read(await client.infer(DEFAULT_MODEL, infer_inputs(SpeechRequest(text, seed))))


async def _responses(client: InferenceServerClient, kind: Kind, text: str, seed: int) -> AsyncIterator[Response]:
    if kind == "whole":
        yield await infer(client, text, seed)
        return

    async def one_request() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": DEFAULT_MODEL + STREAM_SUFFIX, "inputs": infer_inputs(SpeechRequest(text, seed))}

    async for result, error in client.stream_infer(one_request()):
        if error is not None:
            raise error
        yield _read(result)


def _read(result: Any) -> Response:
    return Response.read({name: result.as_numpy(name) for name in OUTPUTS})
