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
import time
from pathlib import Path
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient

from ...benchmarks.conditions import conditions
from ...runtime.backends.base import usable_cores
from ...runtime.synthesizer import Synthesizer
from ..client_result import SENTENCES, ClientResult, Kind
from .client import measure_request
from .report import print_row, real_time_streams_sustained, save_plot, summary
from .throughput import compare_throughput, print_throughput

KINDS: tuple[Kind, ...] = ("whole", "stream")
SECONDS_TO_DRAIN = 120.0  # after the last arrival; a request without a complete response by then is an error


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
    parser.add_argument("--plot", type=Path, help="plot the figures into this file")
    arguments = parser.parse_args()
    report = asyncio.run(measure(arguments))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plot is not None:
        save_plot(report, arguments.plot)


if __name__ == "__main__":
    main()
