"""The health check that speaks notices a model whose process has died, which Triton's own endpoints do not."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tacoglow.triton_server.client import HttpClient, ServerError
from tacoglow.triton_server.contract import Response, SpeechRequest
from tacoglow.triton_server.probe import probe

from .server import TritonServer

NOTICED_SECONDS = 60


def test_dead_model_is_noticed(triton: None, repository: Path) -> None:
    with TritonServer(repository, ["--exit-timeout-secs=5"]) as server:
        for url in (server.http, server.grpc):
            probe(url, "tacoglow", 30)
        stub = next(pid for pid in server.processes()[1:] if b"python_backend_stub" in command(pid))
        os.kill(stub, signal.SIGKILL)
        deadline = time.monotonic() + NOTICED_SECONDS
        while is_healthy(server):
            assert time.monotonic() < deadline
        with urllib.request.urlopen(f"{server.http}/v2/health/live", timeout=10) as response:
            assert response.status == 200  # why the probe is needed
        server.kill()


def is_healthy(server: TritonServer) -> bool:
    try:
        probe(server.http, "tacoglow", 10, may_be_slow=True)
    except ServerError:
        return False
    return True


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_voices_are_asked_for_a_letter_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(self: HttpClient, request: SpeechRequest, model: str) -> Response:
        asked.append(f"{model}: {request.text}")
        return Response(np.zeros(1, np.float32), 16_000, "gate")

    config = {"parameters": {"letter": {"string_value": "{AA}"}}}
    monkeypatch.setattr(HttpClient, "_config", lambda self, model: config)
    monkeypatch.setattr(HttpClient, "_infer", answer)
    monkeypatch.setattr(HttpClient, "_infer_stream", lambda *arguments: iter([answer(*arguments)]))
    probe("http://127.0.0.1:8000", "anna", 5)
    assert asked == ["anna: {AA}", "anna_stream: {AA}"]


def test_slow_server_is_not_ready_but_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        accepted: list[socket.socket] = []  # kept open, and never answered
        accept = lambda: accepted.extend(listener.accept()[0] for _ in range(3))  # noqa: E731
        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(ServerError, match="no complete answer"):
            probe(url, "tacoglow", 0.2)
        probe(url, "tacoglow", 0.2, may_be_slow=True)
    with pytest.raises(ServerError, match="no server answers"):
        probe(url, "tacoglow", 0.2, may_be_slow=True)
