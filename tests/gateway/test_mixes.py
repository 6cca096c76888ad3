"""A short text beside clients who ask for as much as they may; `tools.gateway.mixes` measures the same with clocks."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.tools.gateway import mixes
from tacoglow.tools.gateway.mixes import LONG, SENTENCES_12500, post

from .conftest import Expected
from .running import RunningGateway, running

PCM = {"response_format": "pcm", "sample_rate": 16_000}
UNREAD = {"response_format": "pcm", "sample_rate": 48_000, "gate_threshold": 0.999999}  # more than the system keeps
SHORT = "The gate was open."


@pytest.fixture
def gateway(new_scheduler: Callable[[], Scheduler]) -> Iterator[RunningGateway]:
    with running(new_scheduler()) as gateway:
        yield gateway


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the loopback network has one address")
@pytest.mark.parametrize("text", [LONG, SENTENCES_12500], ids=["ordinary", "12,500 sentences"])
def test_a_short_text_beside_long_ones_that_nobody_reads(
    gateway: RunningGateway, library_stream: Expected, text: str
) -> None:
    """Half of what may wait is one client's, and some is always left; who is refused is told when to come."""
    fields = {"input": SHORT, **PCM}
    expected = encode(np.asarray(library_stream(SHORT)), "int16")
    with ExitStack() as stack:

        def ask(address: str) -> http.client.HTTPResponse:
            return stack.enter_context(post(gateway.port, address, {"input": text, **UNREAD}))

        taken = 0
        for addresses, own in ((["127.0.0.1"] * 7, "127.0.0.1"), ([f"127.0.1.{i}" for i in range(1, 7)], "127.0.0.9")):
            *first, last = [ask(address) for address in addresses]
            assert [answer.status for answer in first[:3]] == [200] * 3
            assert last.status == 503
            assert int(last.headers["retry-after"]) >= 1
            assert json.load(last)["error"]["code"] == "overloaded"
            taken += sum(answer.status == 200 for answer in first)
            for _ in range(3):  # first of the same client, then of one who holds nothing
                with post(gateway.port, own, fields) as answer:
                    assert (answer.status, answer.read()) == (200, expected)
        gateway.wait_until_idle(active=taken)  # they wait for their listeners
    gateway.wait_until_idle()


def test_memory_of_streams_that_are_read_does_not_grow(gateway: RunningGateway) -> None:
    """What has been read is gone: the scheduler holds no more of a long stream at its end than at its begin."""
    with post(gateway.port, "127.0.0.1", {"input": LONG, **UNREAD}) as answer:
        held: list[int] = []
        while len(held) < 20:
            answer.read(1 << 15)
            (task,) = gateway.scheduler._loop._tasks
            held.append(sum(map(len, task._segments)) + len(task._utterances))
    assert not any(held)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the loopback network has one address")
def test_a_small_measurement(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "mixes.json"
    monkeypatch.setattr(sys, "argv", f"mixes {tiny_bundle} --seconds 2 -o {output}".split())
    mixes.main()
    found = json.loads(output.read_text())["mixes"]
    assert len(found) == 20
    for row in found.values():
        for waits in (row["same_address"], row["own_address"]):
            assert waits["heard"] + waits["refused"] > 0
            assert waits["failed"] == []
