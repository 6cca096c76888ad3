"""Lets many clients loose on `tacoglow serve`, 30 % of which leave early, and checks every answer.

    python -m tacoglow.tools.gateway.soak voice/ --threads 1

Starts the server itself. Every complete answer must be bit for bit the library's for its seed. Reported: answers,
the server's memory in each sixth of the time, how long a request lives on whose client has left, and how many of the
streams that have begun are complete after SIGTERM. Ends with status 1 if an answer differs or fails.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

from ...gateway.voices import whole_segments
from ...runtime.options import StreamOptions
from ...runtime.output.wav_writer import encode
from ...runtime.scheduling.scheduler import Scheduler
from ...runtime.synthesizer import Synthesizer
from ..client_result import SENTENCES, Kind
from .client import GatewayServer
from .load import CHAPTER
from .process import GatewayProcess, running_gateway

SEEDS = 2
LEAVING_SHARE = 0.3
LONGEST_STAY = 3.0  # seconds until a client leaves
ABANDONED = 8  # requests whose end is timed
LAST_STREAMS = 4  # that SIGTERM meets
MEMORY_PERIODS = 6  # parts of the time, of which each has its highest memory reported
MEMORY_SECONDS = 0.2  # between two looks at the memory

Expected = dict[tuple[Kind, str, int], bytes]  # samples by kind, text and seed


def expected_answers(voice: Synthesizer, texts: tuple[str, ...]) -> Expected:
    """What the library speaks, one text after the other."""
    cuts: dict[Kind, StreamOptions] = {"stream": StreamOptions(), "whole": whole_segments(voice.manifest)}
    answers = {}
    with Scheduler(voice) as scheduler:
        for text in texts:
            for seed in range(SEEDS):
                for kind, cut in cuts.items():
                    handle = scheduler.submit(text, seed, stream=cut, is_heard=kind == "stream")
                    answers[kind, text, seed] = encode(handle.result().samples, "int16")
    return answers


class Clients:
    """Clients that send one request after the other until the time is over."""

    def __init__(self, server: GatewayServer, expected: Expected, count: int, seconds: float) -> None:
        self._server, self._expected = server, expected
        self._deadline = time.monotonic() + seconds
        self.complete, self.left = 0, 0
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        choice = random.Random(number)
        while time.monotonic() < self._deadline:
            job = choice.choice(sorted(self._expected))
            request = self._server(*job)
            request.start()
            if choice.random() < LEAVING_SHARE:
                time.sleep(choice.uniform(0.0, LONGEST_STAY))
                request.leave()
                with self._lock:
                    self.left += 1
                continue
            request.join()
            with self._lock:
                self.complete += 1
                if request.outcome.error is not None:
                    self.problems.append(request.outcome.error)
                elif request.received != self._expected[job]:
                    self.problems.append(f"{job}: other samples than the library's")


def memory_peaks(gateway: GatewayProcess, seconds: float) -> list[int]:
    """The server's highest memory in each of the next periods, in bytes. Waits until they are over."""
    peaks, begun = [0] * MEMORY_PERIODS, time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        period = int(MEMORY_PERIODS * passed / seconds)
        peaks[period] = max(peaks[period], gateway.resident_bytes())
        time.sleep(MEMORY_SECONDS)
    return peaks


def seconds_to_end(gateway: GatewayProcess) -> list[float]:
    """How long requests live on whose clients have left, one after the other."""
    lives = []
    for number in range(ABANDONED):
        request = gateway.server("stream" if number % 2 else "whole", CHAPTER, number)
        request.start()
        time.sleep(0.5 + 0.3 * number)
        left = time.perf_counter()
        request.leave()
        while gateway.speaking():
            time.sleep(0.01)
        lives.append(time.perf_counter() - left)
    return lives


def complete_after_sigterm(gateway: GatewayProcess, expected: Expected) -> int:
    """Streams that begin, and are complete although the server is told to stop."""
    jobs = list(islice((job for job in expected if job[0] == "stream"), LAST_STREAMS))
    requests = [gateway.server(*job) for job in jobs]
    for request in requests:
        request.start()
    while not all(request.outcome.arrivals for request in requests):
        time.sleep(0.01)
    gateway.process.terminate()
    for request in requests:
        request.join()
    assert gateway.process.wait(60) in (0, -signal.SIGTERM)  # uvicorn ends by the signal itself
    return sum(request.received == expected[job] for request, job in zip(requests, jobs, strict=True))


def soak(bundle: Path, threads: int, count: int, seconds: float) -> dict[str, Any]:
    voice = Synthesizer.load(bundle, threads=threads)
    expected = expected_answers(voice, SENTENCES)
    with running_gateway(bundle, threads, voice.manifest.audio.sampling_rate) as gateway:
        clients = Clients(gateway.server, expected, count, seconds)
        memory = memory_peaks(gateway, seconds)
        clients.join()
        drained = gateway.resident_bytes()
        lives = seconds_to_end(gateway)
        last = complete_after_sigterm(gateway, expected)
    return {
        "clients": count,
        "seconds": seconds,
        "complete": clients.complete,
        "left": clients.left,
        "problems": clients.problems,
        "resident_bytes": {"peaks": memory, "after_all_answers": drained},
        "abandoned_seconds": {"median": statistics.median(lives), "most": max(lives)},
        "complete_after_sigterm": f"{last} of {LAST_STREAMS}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder written by export-onnx")
    parser.add_argument("--threads", type=int, default=1, help="the server's CPU threads per voice")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    report = soak(arguments.bundle, arguments.threads, arguments.clients, arguments.seconds)
    print(json.dumps(report, indent=1))
    raise SystemExit(1 if report["problems"] else 0)


if __name__ == "__main__":
    main()
