"""Triton servers that are late with an answer, or fail."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacoglow.gateway import health, upstream
from tacoglow.gateway.upstream import Upstream, parse_upstreams

from .fake_triton import RATE, SAMPLES, FakeTriton, LateTriton, failure, serving, speech
from .running import POST, running

PCM: dict[str, Any] = {"input": "Hi.", "response_format": "pcm", "sample_rate": RATE}


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
    # Or clients would have minutes of work done again.
    assert answer.headers.get("x-should-retry") == (None if stream else "false")


def test_the_next_request_goes_to_a_server_that_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = LateTriton(), LateTriton()
    with serving(*replicas) as urls, running(Upstream(parse_upstreams(urls)[0])) as gateway:
        monkeypatch.setattr(upstream, "SEGMENT_SECONDS", 0.3)
        for replica in replicas:
            replica.seconds = 60.0
            replica.asked.clear()
        first = gateway.speech(**PCM).status
        (other,) = (replica for replica in replicas if not replica.asked)
        other.seconds = 0.0
        second = gateway.speech(**PCM).status
        for replica in replicas:
            replica.ending.set()
    assert (first, second) == (504, 200)


class FailingTriton(FakeTriton):
    """Sends a segment and hangs, or tells an error. Speaks until it is told how to fail."""

    def __init__(self) -> None:
        self.message: str | None = None  # "": it hangs
        self.ending = threading.Event()

    def answer(self, model: str, headers: dict[str, str]) -> Any:
        return failure(self.message) if self.message else speech()

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        for answer in super().ModelStreamInfer(requests, context):
            if self.message == "":
                yield speech(stop_reason=b"")
                self.ending.wait(60)
            yield answer


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        ("", ["{address}: no answer within {limit} s"]),
        ("out of\x1b[2J memory", [r"out of\x1b[2J memory"]),
        ("sigma: expected 0 to 1, got 7", []),  # the client's mistake
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_failures_of_servers_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, message: str, logged: list[str], stream: bool
) -> None:
    triton = FailingTriton()
    monkeypatch.setattr(upstream, "QUEUE_SECONDS", 0.3)
    with serving(triton) as (url,), running(Upstream(parse_upstreams([url])[0])) as gateway:
        monkeypatch.setattr(upstream, "SEGMENT_SECONDS", 0.3)
        triton.message = message
        with suppress(IncompleteRead):  # after the first segment
            gateway.speech(stream=stream, **PCM)
        triton.ending.set()
    address, limit = url.removeprefix("grpc://"), "0.3" if stream else "0.8"
    assert caplog.messages == [f"tiny: {line.format(address=address, limit=limit)}" for line in logged]


def test_servers_that_are_gone_are_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(health, "RECENT_SECONDS", 0.0)
    with ExitStack() as stack:
        with serving(LateTriton()) as urls:
            gateway = stack.enter_context(running(Upstream(parse_upstreams(urls)[0])))
        assert gateway.speech(**PCM).error["code"] == "upstream_unavailable"
        assert gateway.request("/health").status == 503
    failed, _, unwell = caplog.records  # the health check fails too, without a traceback
    assert failed.message.startswith(f"tiny: no server speaks: {urls[0].removeprefix('grpc://')}: ")
    assert unwell.message.startswith("tiny does not speak: no server speaks: ")
    assert unwell.exc_info is None


def test_clients_that_leave_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    triton = LateTriton()
    with serving(triton) as urls, running(Upstream(parse_upstreams(urls)[0])) as gateway:
        triton.seconds = 60.0
        body = json.dumps(PCM).encode()
        with gateway.connect() as connection:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            while not gateway.scheduler.metrics().active:
                time.sleep(0.005)
        gateway.wait_until_idle(5.0)
        triton.ending.set()
    assert not caplog.messages


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and an option of Linux' TCP")
def test_a_machine_that_acknowledges_nothing_is_found() -> None:
    """Otherwise the system tries for a quarter of an hour, and every request waits for its own time limit."""
    with serving(LateTriton()) as urls, running(Upstream(parse_upstreams(urls)[0])):
        timeouts = []
        for entry in Path("/proc/self/fd").iterdir():
            if "socket:" not in os.path.realpath(entry):
                continue
            with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as connection:  # some have no peer
                is_ip = connection.family in (socket.AF_INET, socket.AF_INET6)
                if is_ip and urls[0].endswith(f":{connection.getpeername()[1]}"):
                    timeouts.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    assert timeouts
    assert set(timeouts) == {10_000}  # milliseconds
