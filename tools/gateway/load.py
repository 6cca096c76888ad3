"""Measures `tacoglow serve` with a voice, beside the library behind a lock, which speaks one request at a time.

    python -m tacoglow.tools.gateway.load voice/ --threads 1 -o load.json

Starts the server itself. Measured: how long a short text takes beside longer ones, when 4 simultaneous streams have
their first audio, how much faster 16 clients are served than the library speaks the same texts in sequence, and whether
listeners run dry when together they need less than 80 % of what the server can stream. The library uses all cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...benchmarks.clock import summary
from ...benchmarks.conditions import conditions
from ...runtime.synthesizer import Synthesizer
from ..client_result import BUFFER_SECONDS, SENTENCES, ClientResult, Kind
from .client import LockedServer, Server
from .process import running_gateway

SHORT = SENTENCES[1]
LONG = " ".join([SENTENCES[3], SENTENCES[2]])  # about 8 s
CHAPTER = (" ".join(SENTENCES) * 8)[:1834] + "."
HEAD_START = 0.5  # seconds by which the longer text is ahead
STREAMS = 4
CLIENTS = 16
LOAD_LIMIT = 0.8  # of the capacity


def speak_all(server: Server, kind: Kind, jobs: Sequence[tuple[str, int]]) -> list[ClientResult]:
    """Send all (text, seed) at once and wait for all."""
    requests = [server(kind, text, seed) for text, seed in jobs]
    for request in requests:
        request.start()
    return [request.result() for request in requests]


def beside(server: Server, longer: str | None, rounds: int) -> dict[str, Any]:
    """Seconds of a short text while a longer one is spoken, whose client leaves afterwards; or alone."""
    latencies = []
    for seed in range(rounds):
        other = None if longer is None else server("whole", longer, 1000 + seed)
        if other is not None:
            other.start()
            time.sleep(HEAD_START)
        short = server("whole", SHORT, seed)
        short.start()
        latencies.append(short.result().latency)
        if other is not None:
            other.leave()
    return summary(latencies)


def shared_latency(server: Server, rounds: int) -> dict[str, Any]:
    alone = beside(server, None, rounds)
    rows = {"alone": alone, "beside_long": beside(server, LONG, rounds), "beside_chapter": beside(server, CHAPTER, 3)}
    for name in ("beside_long", "beside_chapter"):
        rows[name]["ratio"] = rows[name]["p50"] / alone["p50"]
    return rows


def first_audio(server: Server, rounds: int) -> dict[str, Any]:
    """Seconds until the first audio of simultaneous streams."""
    results = []
    for number in range(rounds):
        jobs = [(text, number * STREAMS + i) for i, text in enumerate(SENTENCES)]
        results += speak_all(server, "stream", jobs)
    return summary([result.arrivals[0][0] for result in results])


def throughput(server: Server, voice: Synthesizer, rounds: int) -> dict[str, Any]:
    """16 clients at once, compared with the library in sequence, in turns."""
    jobs, rows = [(SENTENCES[i % len(SENTENCES)], i) for i in range(CLIENTS)], []
    for _ in range(rounds):
        start = time.perf_counter()
        for text, seed in jobs:
            voice.say(text, seed)
        middle = time.perf_counter()
        audio_seconds = sum(result.audio_seconds for result in speak_all(server, "whole", jobs))
        rows.append({"library_seconds": middle - start, "server_seconds": time.perf_counter() - middle})
    ratio = statistics.median(row["library_seconds"] / row["server_seconds"] for row in rows)
    return {"clients": CLIENTS, "audio_seconds": audio_seconds, "rounds": rows, "ratio": ratio}


def listeners(server: Server, seconds: float) -> dict[str, Any]:
    """Streams that are heard one after the other by as many listeners as need under 80 % of the capacity."""
    start = time.perf_counter()
    results = speak_all(server, "stream", [(CHAPTER, i) for i in range(STREAMS)])
    capacity = sum(result.audio_seconds for result in results) / (time.perf_counter() - start)
    count, heard, number = int(LOAD_LIMIT * capacity), [], 0
    row: dict[str, Any] = {"capacity": capacity, "listeners": count, "buffer_seconds": BUFFER_SECONDS}
    if not count:
        return row
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        results = speak_all(server, "stream", [(LONG, number + i) for i in range(count)])
        number += count
        heard += results
        longest = max(result.arrivals[0][0] + result.audio_seconds for result in results)
        time.sleep(max(0.0, longest - (time.perf_counter() - began)))
    row |= {"streams": len(heard), "ran_dry": sum(not result.is_real_time for result in heard)}
    return row | {"buffer_needed_seconds": summary([result.buffer_needed for result in heard])}


def measure(bundle: Path, threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    voice = Synthesizer.load(bundle)
    locked, rate = LockedServer(voice), voice.manifest.audio.sampling_rate
    report: dict[str, Any] = {"voice": voice.manifest.voice.name, "conditions": conditions(threads, None)}
    with running_gateway(bundle, threads, rate) as process:
        gateway = process.server
        for server in (gateway, locked):  # warms up
            speak_all(server, "stream", [(SHORT, 0)])
        for name, server in (("gateway", gateway), ("locked", locked)):
            report[name] = {
                "long_seconds": speak_all(server, "whole", [(LONG, 0)])[0].audio_seconds,
                "short_text": shared_latency(server, rounds),
                "first_audio_seconds": first_audio(server, rounds),
            }
            _print_latency(name, report[name])
        report["throughput"] = throughput(gateway, voice, rounds)
        report["listeners"] = listeners(gateway, seconds)
    _print_shared(report["throughput"], report["listeners"])
    return report


def _print_latency(name: str, rows: dict[str, Any]) -> None:
    texts, first = rows["short_text"], rows["first_audio_seconds"]
    print(
        f"{name}: a short text alone {texts['alone']['p50']:.2f} s, beside one of {rows['long_seconds']:.1f} s "
        f"{texts['beside_long']['ratio']:.1f} times that, beside {len(CHAPTER):,} characters "
        f"{texts['beside_chapter']['ratio']:.1f} times; first audio of {STREAMS} streams p50 {first['p50']:.2f} s, "
        f"p95 {first['p95']:.2f} s",
        flush=True,
    )


def _print_shared(throughput: dict[str, Any], listeners: dict[str, Any]) -> None:
    print(f"{CLIENTS} clients: {throughput['ratio']:.2f} times the library's throughput in sequence (median)")
    print(f"capacity of {STREAMS} streams: {listeners['capacity']:.2f} seconds of audio a second")
    if listeners["listeners"]:
        needed = listeners["buffer_needed_seconds"]
        print(
            f"{listeners['listeners']} listeners: {listeners['ran_dry']} of {listeners['streams']} streams ran dry "
            f"with a buffer of {BUFFER_SECONDS:.0f} s; needed: p50 {needed['p50']:.2f} s, p99 {needed['p99']:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder written by export-onnx")
    parser.add_argument("--threads", type=int, default=1, help="the server's CPU threads per voice")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long listeners listen")
    parser.add_argument("-o", "--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    report = measure(arguments.bundle, arguments.threads, arguments.rounds, arguments.seconds)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
