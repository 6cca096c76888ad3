"""Many clients at once, memory over time, and a shutdown that lets streams finish."""

from __future__ import annotations

import random
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.serving.client import ServerError, connect
from tacoglow.runtime.serving.contract import SpeechRequest

from .server import TritonServer

pytest.importorskip("tritonclient.grpc")

CLIENTS = 64
MEGABYTE = 1 << 20


def resident_bytes(server: TritonServer) -> int:
    """Memory of the server and its model instances, pages that they share counted once."""
    total = 0
    for pid in server.processes():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def speak_for(server: TritonServer, seconds: float, voice: Synthesizer) -> int:
    """64 clients ask for speech, whole and streamed, over both protocols, and check it; how often they were served."""
    texts = [f"Client text {i}, and some {'more ' * (i % 4)}words." for i in range(8)]
    wholes = {text: voice.say(text, 1).samples for text in texts}
    streams = {text: np.concatenate(list(voice.stream(text, 1))) for text in texts}
    deadline, served, problems = time.monotonic() + seconds, [0] * CLIENTS, []  # type: float, list[int], list[Exception]

    def client(number: int) -> None:
        choice = random.Random(number)
        speech = connect(server.grpc if number % 4 else server.http)
        try:
            while time.monotonic() < deadline:
                text = choice.choice(texts)
                if choice.random() < 0.5:
                    np.testing.assert_array_equal(speech.say(SpeechRequest(text, 1)).samples, wholes[text])
                else:
                    chunks = [response.samples for response in speech.stream(SpeechRequest(text, 1))]
                    np.testing.assert_array_equal(np.concatenate(chunks), streams[text])
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


def test_when_a_stream_is_real_time() -> None:
    """Half a second of audio a chunk, and a player that begins a second after the first."""
    load = pytest.importorskip("tacoglow.tools.load")
    in_time = load.Spoken(arrivals=[(3.0, 0.5), (4.4, 0.5), (4.9, 0.5)])  # wanted at 4.0, 4.5, 5.0
    late = load.Spoken(arrivals=[(3.0, 0.5), (4.4, 0.5), (5.1, 0.5)])
    assert (in_time.is_real_time, late.is_real_time) == (True, False)
    row = load.summary("stream", 0.5, [in_time, late, load.Spoken(error="refused")])
    assert (row["requests"], row["failed"], row["errors"]) == (3, 1, ["refused"])
    assert row["real_time_share"] == pytest.approx(1 / 3)
    assert row["first_audio_seconds"]["p50"] == 3.0
    assert row["audio_seconds_a_second"] == pytest.approx(0.75)


def test_64_clients(server: TritonServer, voice: Synthesizer) -> None:
    assert speak_for(server, 5.0, voice) >= CLIENTS


@pytest.mark.slow
def test_64_clients_for_a_minute_at_constant_memory(server: TritonServer, voice: Synthesizer) -> None:
    speak_for(server, 20.0, voice)  # pools and buffers grow to what 64 clients need
    before = resident_bytes(server)
    served = speak_for(server, 60.0, voice)
    growth = resident_bytes(server) - before
    print(f"{served} requests, {before / MEGABYTE:.0f} MB before, {growth / MEGABYTE:+.1f} MB after")
    assert growth < 0.05 * before


def test_sigterm_lets_streams_finish(triton: None, repository: Path, voice: Synthesizer) -> None:
    asked = SpeechRequest("A sentence that is still to be spoken. " * 40, 2)
    expected = list(voice.stream(asked.text, asked.seed))
    heard: dict[str, list[np.ndarray]] = {}
    with TritonServer(repository) as server:
        streams = {url: connect(url).stream(asked) for url in (server.http, server.grpc)}
        for url, stream in streams.items():
            heard[url] = [response.samples for response in islice(stream, 2)]
        server.terminate()
        for url, stream in streams.items():
            heard[url] += [response.samples for response in stream][:-1]
        assert server.process.wait(60) == 0
        with pytest.raises(ServerError, match="no server answers there"):
            connect(server.http).say(asked)
    for chunks in heard.values():
        assert len(chunks) == len(expected)
        np.testing.assert_array_equal(np.concatenate(chunks), np.concatenate(expected))
