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
    ("answered_after", "stream", "queue", "limit"),
    [
        (60.0, True, 300.0, "0.3"),  # of a segment
        (0.6, False, 300.0, ""),  # the servers' own, and that of their queue
        (60.0, False, 0.7, "1.2"),
    ],
)
def test_requests_of_late_servers(
    monkeypatch: pytest.MonkeyPatch, answered_after: float, stream: bool, queue: float, limit: str
) -> None:
    monkeypatch.setattr(upstream, "QUEUE_SECONDS", queue)
    replicas = LateTriton(), LateTriton()
    with serving(*replicas) as urls, running(Upstream(parse_upstreams(urls)[0])) as gateway:
        monkeypatch.setattr(upstream, "SEGMENT_SECONDS", 0.3)  # after the voice has spoken at the start
        for replica in replicas:
            replica.seconds = answered_after
            replica.asked.clear()
        answer = gateway.speech(stream=stream, **PCM)
        for replica in replicas:
            replica.ending.set()
    asked = [model for replica in replicas for model in replica.asked]
    assert asked == ["tacoglow_stream" if stream else "tacoglow"]  # one server, once
    if not limit:
        assert answer.body == np.full(len(SAMPLES), 8192, "<i2").tobytes()  # 0.25, of 32,767
        return
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert answer.error["message"].endswith(f": no answer within {limit} s")
    assert answer.headers["x-should-retry"] == "false"  # or clients would have the work done again
