"""Triton servers that are late with an answer."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tacoglow.gateway import upstream
from tacoglow.gateway.upstream import Upstream, parse_upstreams

from .fake_triton import RATE, SAMPLES, FakeTriton, serving, speech
from .running import running

PCM: dict[str, Any] = {"input": "Hi.", "response_format": "pcm", "sample_rate": RATE}


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
    replicas = LateTriton(), LateTriton()
    with serving(*replicas) as urls, running(Upstream(parse_upstreams(urls)[0])) as gateway:
        for replica in replicas:  # after the voice has spoken at the start
            replica.seconds = answered_after
            replica.asked.clear()
        answer = gateway.speech(stream=stream, **PCM)
        for replica in replicas:
            replica.ending.set()
    assert answer.status == status
    asked = [model for replica in replicas for model in replica.asked]
    assert asked == ["tacoglow_stream" if stream else "tacoglow"]  # one server, once
    if status == 200:
        assert answer.body == np.full(len(SAMPLES), 8192, "<i2").tobytes()  # 0.25, of 32,767
        return
    assert answer.error["code"] == "upstream_timeout"
    assert answer.error["message"].endswith(f": no answer within {0.3 if stream else 1.2} s")
    assert answer.headers["x-should-retry"] == "false"  # or clients would have the work done again
