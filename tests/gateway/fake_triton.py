"""gRPC servers that tell of a voice as Triton does, and whose speech is made up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
service_pb2_grpc = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")

RATE = 16_000
SAMPLES = np.full(8_000, 0.25, np.float32)
TOLD = {"voice": "tiny", "language": "en-US", "sampling_rate": str(RATE), "max_seconds": "0.5", "letter": "a"}


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc, name-defined]
    """Answers every request in the same way; derived classes say how."""

    told = TOLD  # parameters of its models

    def answer(self, model: str, headers: dict[str, str]) -> Any:
        """The response to a request. headers: the metadata of its stream."""
        raise NotImplementedError

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's names
        parameters = {name: model_config_pb2.ModelParameter(string_value=value) for name, value in self.told.items()}
        return service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(parameters=parameters))

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            yield self.answer(request.model_name, dict(context.invocation_metadata()))


def failure(message: str) -> Any:
    return service_pb2.ModelStreamInferResponse(error_message=message)


def speech(stop_reason: bytes = b"gate") -> Any:
    """The complete speech of a text model, SAMPLES; without a stop reason, a segment."""
    answer = service_pb2.ModelInferResponse()
    for name, kind, shape, content in (
        ("audio", "FP32", [1, len(SAMPLES)], SAMPLES.tobytes()),
        ("encoded", "BYTES", [1, 1], bytes(4)),
        ("sampling_rate", "INT32", [1, 1], RATE.to_bytes(4, "little")),
        ("stop_reason", "BYTES", [1, 1], len(stop_reason).to_bytes(4, "little") + stop_reason),
        ("warning", "BYTES", [1, 1], bytes(4)),
    ):
        answer.outputs.add(name=name, datatype=kind, shape=shape)
        answer.raw_output_contents.append(content)
    return service_pb2.ModelStreamInferResponse(infer_response=answer)


class LateTriton(FakeTriton):
    """Takes every request, and speaks after so many seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.asked: list[str] = []  # names of models
        self.ending = threading.Event()

    def answer(self, model: str, headers: dict[str, str]) -> Any:
        self.asked.append(model)
        self.ending.wait(self.seconds)
        return speech()


@contextmanager
def serving(*tritons: FakeTriton) -> Iterator[list[str]]:
    """Serve on loopback ports; yields the URLs."""
    servers = [grpc.server(ThreadPoolExecutor(4)) for _ in tritons]
    urls = []
    for triton, server in zip(tritons, servers, strict=True):
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
        urls.append(f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        server.start()
    try:
        yield urls
    finally:
        for server in servers:
            server.stop(None)
