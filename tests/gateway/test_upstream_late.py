"""Triton servers that are late with an answer. They are real gRPC servers, and only their speech is made up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tacoglow.gateway import upstream
from tacoglow.gateway.upstream import Upstream, parse_upstreams

from .running import running

grpc = pytest.importorskip("grpc")
service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
service_pb2_grpc = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")

RATE = 16_000
SAMPLES = np.full(8_000, 0.25, np.float32)
TOLD = {"voice": "late", "language": "en-US", "sampling_rate": str(RATE), "max_seconds": "0.5"}
PCM: dict[str, Any] = {"input": "Hi.", "response_format": "pcm", "sample_rate": RATE}


class LateTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc, name-defined]
    """Takes every request, and answers it after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[str] = []  # names of models
        self.ending = threading.Event()

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's names
        config = model_config_pb2.ModelConfig(name=request.name)
        for name, value in TOLD.items():
            config.parameters[name].string_value = value
        return service_pb2.ModelConfigResponse(config=config)

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            self.asked.append(request.model_name)
            self.ending.wait(self.seconds)
            yield service_pb2.ModelStreamInferResponse(infer_response=complete_speech())


def complete_speech() -> Any:
    """The response of a text model."""
    answer = service_pb2.ModelInferResponse()
    for name, kind, shape, content in (
        ("audio", "FP32", [1, len(SAMPLES)], SAMPLES.tobytes()),
        ("encoded", "BYTES", [1, 1], bytes(4)),
        ("sampling_rate", "INT32", [1, 1], RATE.to_bytes(4, "little")),
        ("stop_reason", "BYTES", [1, 1], (4).to_bytes(4, "little") + b"gate"),
        ("warning", "BYTES", [1, 1], bytes(4)),
    ):
        answer.outputs.add(name=name, datatype=kind, shape=shape)
        answer.raw_output_contents.append(content)
    return answer


@contextmanager
def serving(seconds: float, count: int = 2) -> Iterator[tuple[list[LateTriton], Upstream]]:
    """Replicas of a voice, and what speaks through them."""
    tritons, urls, servers = [LateTriton(seconds) for _ in range(count)], [], []
    for triton in tritons:
        server = grpc.server(ThreadPoolExecutor(4))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
        urls.append(f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        server.start()
        servers.append(server)
    try:
        yield tritons, Upstream(parse_upstreams(urls)[0])
    finally:
        for triton, server in zip(tritons, servers, strict=True):
            triton.ending.set()
            server.stop(None)


@pytest.mark.parametrize(
    ("answered_after", "stream", "status"),
    [
        (0.0, True, 200),
        (0.6, True, 504),  # the limit of a segment
        (0.6, False, 200),  # the servers' own limit, and that of their queue
        (60.0, False, 504),
    ],
)
def test_requests_of_late_servers(
    monkeypatch: pytest.MonkeyPatch, answered_after: float, stream: bool, status: int
) -> None:
    monkeypatch.setattr(upstream, "SEGMENT_SECONDS", 0.3)
    monkeypatch.setattr(upstream, "QUEUE_SECONDS", 0.7)
    with serving(0.0) as (tritons, speaker), running(speaker) as gateway:
        for triton in tritons:  # after the voice has spoken at the start
            triton.seconds = answered_after
            triton.asked.clear()
        answer = gateway.speech(stream=stream, **PCM)
        assert answer.status == status
        asked = [name for triton in tritons for name in triton.asked]
        assert asked == ["tacoglow_stream" if stream else "tacoglow"]  # one server, once
        if status == 200:
            assert answer.body == np.full(len(SAMPLES), 8192, "<i2").tobytes()  # 0.25, of 32,767
            return
        assert answer.error["code"] == "upstream_timeout"
        seconds = "0.3" if stream else "1.2"
        assert answer.error["message"].endswith(f": no answer within {seconds} s")
        assert answer.headers["x-should-retry"] == "false"  # or clients would have the work done again
