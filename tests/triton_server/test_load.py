"""Many simultaneous clients, memory over time, a shutdown that completes streams, and the load generator."""

from __future__ import annotations

import random
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.triton_server.client import ServerError, connect
from tacoglow.triton_server.contract import SpeechRequest

from .server import TritonServer

pytest.importorskip("tritonclient.grpc")

CLIENTS = 64
MEGABYTE = 1 << 20


def resident_bytes(server: TritonServer) -> int:
    """Memory of the server and its model instances; pages that they share are counted once."""
    total = 0
    for pid in server.processes():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def run_clients(server: TritonServer, seconds: float, voice: Synthesizer) -> int:
    """Let 64 clients request complete and streamed speech over both protocols, and check every response.

    Returns the number of requests served.
    """
    texts = [f"Client text {i}, and some {'more ' * (i % 4)}words." for i in range(8)]
    complete = {text: voice.say(text, 1).samples for text in texts}
    streamed = {text: np.concatenate(list(voice.stream(text, 1))) for text in texts}
    deadline, served, problems = time.monotonic() + seconds, [0] * CLIENTS, []  # type: float, list[int], list[Exception]

    def client(number: int) -> None:
        choice = random.Random(number)
        speech = connect(server.grpc if number % 4 else server.http)
        try:
            while time.monotonic() < deadline:
                text = choice.choice(texts)
                if choice.random() < 0.5:
                    np.testing.assert_array_equal(speech.say(SpeechRequest(text, 1)).samples, complete[text])
                else:
                    segments = [response.samples for response in speech.stream(SpeechRequest(text, 1))]
                    np.testing.assert_array_equal(np.concatenate(segments), streamed[text])
                served[number] += 1
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    assert not problems
    assert min(served) > 0
    return sum(served)


def test_real_time_streams() -> None:
    """Segments of half a second, and a player that starts one second after the first segment arrives."""
    load = pytest.importorskip("tacoglow.tools.triton.load")
    in_time = load.ClientResult(arrivals=[(3.0, 0.5), (4.4, 0.5), (4.9, 0.5)])  # needed at 4.0, 4.5, 5.0
    late = load.ClientResult(arrivals=[(3.0, 0.5), (4.4, 0.5), (5.1, 0.5)])
    assert (in_time.is_real_time, late.is_real_time) == (True, False)
    row = load.summary("stream", 0.5, [in_time, late, load.ClientResult(error="refused")])
    assert (row["requests"], row["failed"], row["errors"]) == (3, 1, ["refused"])
    assert row["real_time_share"] == pytest.approx(1 / 3)
    assert row["first_audio_seconds"]["p50"] == 3.0
    assert row["audio_seconds_a_second"] == pytest.approx(0.75)


def test_64_clients(server: TritonServer, voice: Synthesizer) -> None:
    assert run_clients(server, 5.0, voice) >= CLIENTS


@pytest.mark.slow
def test_memory_is_constant_with_64_clients(server: TritonServer, voice: Synthesizer) -> None:
    run_clients(server, 20.0, voice)  # lets pools and buffers grow to the size that 64 clients need
    before = resident_bytes(server)
    served = run_clients(server, 60.0, voice)
    growth = resident_bytes(server) - before
    print(f"{served} requests, {before / MEGABYTE:.0f} MB before, {growth / MEGABYTE:+.1f} MB after")
    assert growth < 0.05 * before


def test_streams_complete_after_sigterm(triton: None, repository: Path, voice: Synthesizer) -> None:
    request = SpeechRequest("A sentence that is still to be spoken. " * 40, 2)
    expected = list(voice.stream(request.text, request.seed))
    received: dict[str, list[np.ndarray]] = {}
    with TritonServer(repository) as server:
        streams = {url: connect(url).stream(request) for url in (server.http, server.grpc)}
        for url, stream in streams.items():
            received[url] = [response.samples for response in islice(stream, 2)]
        server.terminate()
        for url, stream in streams.items():
            received[url] += [response.samples for response in stream][:-1]
        assert server.process.wait(60) == 0
        with pytest.raises(ServerError, match="no server answers there"):
            connect(server.http).say(request)
    for segments in received.values():
        assert len(segments) == len(expected)
        np.testing.assert_array_equal(np.concatenate(segments), np.concatenate(expected))
