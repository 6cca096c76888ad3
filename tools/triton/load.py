"""Generates load for a served voice and reports latency, time to first audio, and streams served in real time.

    tacoglow export-triton voice/ -o model_repository/
    tritonserver --model-repository model_repository/          # or tests/triton_server/server.py
    python -m tacoglow.tools.triton.load grpc://127.0.0.1:8001 --bundle voice/ --rates 0.25 0.5 1 -o load.json

The load is open: requests arrive at random (a Poisson process) whatever the server does, so if the server cannot keep
up, latencies grow instead of the load slowing down. Every rate is measured first for complete speech and then for
streams, and is limited in time and in requests. A stream is real-time if a player that waits one second after the
first segment never has to wait again. With --bundle, the throughput of the server, which gets all texts at once, is
compared with that of the library on this machine, which synthesizes the same texts one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient

from ...benchmarks.clock import summary as figures
from ...benchmarks.conditions import conditions
from ...runtime.backends.base import usable_cores
from ...runtime.synthesizer import Synthesizer
from ..client_result import SENTENCES, ClientResult, Kind
from .client import infer, measure_request

KINDS: tuple[Kind, ...] = ("whole", "stream")
SECONDS_TO_DRAIN = 120.0  # after the last arrival; a request without a complete response by then is an error
REAL_TIME_SHARE = 0.95  # share of real-time streams at which a rate counts as sustained


async def poisson_load(
    client: InferenceServerClient, kind: Kind, rate: float, seconds: float, limit: int
) -> list[ClientResult]:
    """Send `rate` requests per second on average, for this many seconds or until `limit` requests have been sent."""
    generator = random.Random(0)
    tasks: list[asyncio.Task[ClientResult]] = []
    end, due = time.perf_counter() + seconds, time.perf_counter()
    while len(tasks) < limit:
        due += generator.expovariate(rate)
        if due > end:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        request = measure_request(client, kind, generator.choice(SENTENCES), seed=len(tasks))
        tasks.append(asyncio.create_task(request))
    if not tasks:
        return []
    done, late = await asyncio.wait(tasks, timeout=SECONDS_TO_DRAIN)
    for task in late:
        task.cancel()
    return [task.result() for task in done] + [ClientResult(error="no answer in time") for _ in late]


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the comparison and the load that the arguments select, printing as they proceed, and return the report."""
    report: dict[str, Any] = {"conditions": conditions(usable_cores(), None)}
    async with InferenceServerClient(arguments.url.removeprefix("grpc://")) as client:
        if arguments.bundle is not None:
            voice = Synthesizer.load(arguments.bundle, arguments.backend)
            throughput = await compare_throughput(client, voice, SENTENCES, arguments.texts, arguments.rounds)
            report["throughput"] = throughput
            print_throughput(throughput)
        report["load"] = []
        for kind in KINDS:
            for rate in arguments.rates:
                results = await poisson_load(client, kind, rate, arguments.seconds, arguments.limit)
                report["load"].append(summary(kind, rate, results))
                print_row(report["load"][-1])
    report["real_time_streams_sustained"] = real_time_streams_sustained(report["load"])
    print(f"real-time streams sustained: {report['real_time_streams_sustained']:.1f}")
    return report


def summary(kind: Kind, rate: float, results: Sequence[ClientResult]) -> dict[str, Any]:
    """Return the report's row for one kind of request at one rate (requests per second)."""
    served = [result for result in results if result.error is None and result.arrivals]
    row: dict[str, Any] = {
        "kind": kind,
        "rate": rate,
        "requests": len(results),
        "errors": sorted({result.error for result in results if result.error is not None}),
        "failed": len(results) - len(served),
    }
    if served:
        row["latency_seconds"] = figures([result.latency for result in served])
        row["first_audio_seconds"] = figures([result.arrivals[0][0] for result in served])
        row["audio_seconds_a_second"] = rate * statistics.mean(result.audio_seconds for result in served)
    if served and kind == "stream":
        row["real_time_share"] = sum(result.is_real_time for result in served) / len(results)
    return row


def real_time_streams_sustained(rows: Sequence[dict[str, Any]]) -> float:
    """Return the most streams that are being heard at once at a sustained rate, 0 if no rate is sustained.

    By Little's law, the streams heard at once are the audio seconds per second.
    """
    sustained = [row["audio_seconds_a_second"] for row in rows if row.get("real_time_share", 0.0) >= REAL_TIME_SHARE]
    return max(sustained, default=0.0)


def print_row(row: dict[str, Any]) -> None:
    line = f"{row['kind']:6} {row['rate']:5.2f} per second  {row['requests']:4} requests  {row['failed']} failed"
    if "latency_seconds" in row:
        latency, first = row["latency_seconds"], row["first_audio_seconds"]
        line += "  latency p50 {p50:.2f} p95 {p95:.2f} p99 {p99:.2f} s".format(**latency)
        line += f"  first audio p50 {first['p50']:.2f} p95 {first['p95']:.2f} s"
    if "real_time_share" in row:
        line += f"  real-time {row['real_time_share']:.0%}"
    print(line, *row["errors"], flush=True)


async def compare_throughput(
    client: InferenceServerClient, voice: Synthesizer, sentences: Sequence[str], count: int, rounds: int
) -> dict[str, Any]:
    """Time `count` texts in every round: first by the library one after the other, then by the server all at once.

    Raises SystemExit if the server's samples differ from the library's.
    """
    jobs = [(sentences[i % len(sentences)], i) for i in range(count)]
    expected = [voice.say(text, seed).samples for text, seed in jobs]  # also warms up the library
    rows = []
    for _ in range(rounds):
        start = time.perf_counter()
        for text, seed in jobs:
            voice.say(text, seed)
        middle = time.perf_counter()
        responses = await asyncio.gather(*(infer(client, text, seed) for text, seed in jobs))
        end = time.perf_counter()
        for response, samples in zip(responses, expected, strict=True):
            if not np.array_equal(response.samples, samples):
                raise SystemExit(
                    "not timed: the server's samples differ from the library's; is --bundle the same voice?"
                )
        rows.append({"library_seconds": middle - start, "server_seconds": end - middle})
    ratios = [row["library_seconds"] / row["server_seconds"] for row in rows]
    audio = sum(len(samples) for samples in expected) / voice.manifest.audio.sampling_rate
    return {"texts": count, "audio_seconds": audio, "rounds": rows, "ratio": statistics.median(ratios)}


def print_throughput(throughput: dict[str, Any]) -> None:
    for row in throughput["rounds"]:
        print(f"library, in sequence {row['library_seconds']:6.2f} s   server, at once {row['server_seconds']:6.2f} s")
    print(f"server compared with library: {throughput['ratio']:.2f} times the throughput (median)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="grpc://HOST:PORT of the server")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.25, 0.5, 1.0], help="requests per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the arrivals at each rate")
    parser.add_argument("--limit", type=int, default=1000, help="most requests at each rate")
    parser.add_argument("--bundle", type=Path, help="bundle of the served voice: also compare with the library")
    parser.add_argument("--backend", default="auto", help="the library's backend for the comparison")
    parser.add_argument("--texts", type=int, default=16, help="texts per round of the comparison")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison")
    parser.add_argument("-o", "--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    report = asyncio.run(measure(arguments))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
