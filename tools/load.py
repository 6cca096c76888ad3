"""How a served voice bears load: latency, time to first audio, real-time streams, and batching against the library.

    tacoglow export-triton voice/ -o model_repository/
    tritonserver --model-repository model_repository/          # or python tests/serving/server.py model_repository/
    python -m tacoglow.tools.load grpc://127.0.0.1:8001 --bundle voice/ --rates 0.25 0.5 1 -o load.json

The load is open: requests arrive at random (a Poisson process) whatever the server does, so a server that cannot keep
up shows growing latencies instead of a slower load. Each rate is asked for both whole speech and streams, one after
the other, and is bounded in time and in requests. A stream is real-time if a player that waits a second after the
first chunk need not wait again. With --bundle, the same texts are also spoken one after the other by the library on
this machine, in turn with all of them sent to the server at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from ..benchmarks.conditions import conditions, usable_cores
from ..benchmarks.figures import summary as figures
from ..runtime.serving import DEFAULT_MODEL, STREAM_SUFFIX
from ..runtime.serving.contract import INPUTS, OUTPUTS, Response, SpeechRequest
from ..runtime.synthesizer import Synthesizer

Kind = Literal["whole", "stream"]
SENTENCES = (
    "The prisoner had nothing to deal with but wooden panels.",
    "Hello world, I missed you.",
    "It was a bright cold day in April, and the clocks were striking.",
    "The passage of the crowd, and the long delay at the gate, had made the old man tired and cold.",
)
SECONDS_TO_DRAIN = 120.0  # after the last arrival; what has no answer by then counts as an error
BUFFER_SECONDS = 1.0  # that a player waits after the first chunk, which is short, so that the second is there in time
REAL_TIME_SHARE = 0.95  # of streams, for a rate to count as sustained


@dataclass
class Spoken:
    """One request as its client saw it; times in seconds after it was sent."""

    latency: float = 0.0  # to the last sample
    arrivals: list[tuple[float, float]] = field(default_factory=list)  # (time, audio seconds) of each chunk
    error: str | None = None

    @property
    def audio_seconds(self) -> float:
        return sum(seconds for _, seconds in self.arrivals)

    @property
    def is_real_time(self) -> bool:
        """Whether playback, begun BUFFER_SECONDS after the first chunk, never waited for another."""
        heard_until = self.arrivals[0][0] + BUFFER_SECONDS
        for arrival, seconds in self.arrivals:
            if arrival > heard_until:
                return False
            heard_until += seconds
        return True


async def speak(client: InferenceServerClient, kind: Kind, text: str, seed: int) -> Spoken:
    spoken, start = Spoken(), time.perf_counter()
    try:
        async for response in _responses(client, kind, _inputs(text, seed)):
            if len(response.samples):
                spoken.arrivals.append((time.perf_counter() - start, len(response.samples) / response.sampling_rate))
    except InferenceServerException as error:
        spoken.error = error.message()
    spoken.latency = time.perf_counter() - start
    return spoken


async def _responses(client: InferenceServerClient, kind: Kind, inputs: list[InferInput]) -> Any:
    if kind == "whole":
        yield _read(await client.infer(DEFAULT_MODEL, inputs))
        return

    async def one_request() -> Any:
        yield {"model_name": DEFAULT_MODEL + STREAM_SUFFIX, "inputs": inputs}

    async for result, error in client.stream_infer(one_request()):
        if error is not None:
            raise error
        yield _read(result)


def _read(result: Any) -> Response:
    return Response.read({name: result.as_numpy(name) for name in OUTPUTS})


def _inputs(text: str, seed: int) -> list[InferInput]:
    made = []
    for name, array in SpeechRequest(text, seed).tensors().items():
        made.append(InferInput(name, list(array.shape), "BYTES" if INPUTS[name] == "STRING" else INPUTS[name]))
        made[-1].set_data_from_numpy(array)
    return made


async def poisson_load(
    client: InferenceServerClient, kind: Kind, rate: float, seconds: float, limit: int
) -> list[Spoken]:
    """Requests at `rate` a second for so long, or until `limit` of them have been sent."""
    chance = random.Random(0)
    tasks: list[asyncio.Task[Spoken]] = []
    end, due = time.perf_counter() + seconds, time.perf_counter()
    while len(tasks) < limit:
        due += chance.expovariate(rate)
        if due > end:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(speak(client, kind, chance.choice(SENTENCES), len(tasks))))
    if not tasks:
        return []
    done, late = await asyncio.wait(tasks, timeout=SECONDS_TO_DRAIN)
    for task in late:
        task.cancel()
    return [task.result() for task in done] + [Spoken(error="no answer in time") for _ in late]


def summary(kind: Kind, rate: float, spoken: Sequence[Spoken]) -> dict[str, Any]:
    served = [item for item in spoken if item.error is None and item.arrivals]
    row: dict[str, Any] = {
        "kind": kind,
        "rate": rate,
        "requests": len(spoken),
        "errors": sorted({item.error for item in spoken if item.error is not None}),
        "failed": len(spoken) - len(served),
    }
    if served:
        row["latency_seconds"] = figures([item.latency for item in served])
        row["first_audio_seconds"] = figures([item.arrivals[0][0] for item in served])
        row["audio_seconds_a_second"] = rate * statistics.mean(item.audio_seconds for item in served)
    if served and kind == "stream":
        row["real_time_share"] = sum(item.is_real_time for item in served) / len(spoken)
    return row


async def compare(client: InferenceServerClient, voice: Synthesizer, count: int, rounds: int) -> dict[str, Any]:
    """Seconds for `count` texts: by the library one after the other, and by the server that got them all at once."""
    jobs = [(SENTENCES[i % len(SENTENCES)], i) for i in range(count)]
    expected = [voice.say(text, seed).samples for text, seed in jobs]  # the warm-up of one, and the check of both
    rows = []
    for _ in range(rounds):
        start = time.perf_counter()
        for text, seed in jobs:
            voice.say(text, seed)
        middle = time.perf_counter()
        answers = await asyncio.gather(*(client.infer(DEFAULT_MODEL, _inputs(*job)) for job in jobs))
        end = time.perf_counter()
        for answer, samples in zip(answers, expected, strict=True):
            if not np.array_equal(_read(answer).samples, samples):
                raise SystemExit("not timed: the server and the library do not say the same")
        rows.append({"library_seconds": middle - start, "server_seconds": end - middle})
    ratios = [row["library_seconds"] / row["server_seconds"] for row in rows]
    audio = sum(len(samples) for samples in expected) / voice.manifest.audio.sampling_rate
    return {"texts": count, "audio_seconds": audio, "rounds": rows, "ratio": statistics.median(ratios)}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {"conditions": conditions(usable_cores(), None)}
    async with InferenceServerClient(arguments.url.removeprefix("grpc://")) as client:
        if arguments.bundle is not None:
            voice = Synthesizer.load(arguments.bundle, arguments.backend)
            report["throughput"] = await compare(client, voice, arguments.texts, arguments.rounds)
            show_throughput(report["throughput"])
        kinds: tuple[Kind, ...] = ("whole", "stream")
        report["load"] = []
        for kind in kinds:
            for rate in arguments.rates:
                spoken = await poisson_load(client, kind, rate, arguments.seconds, arguments.limit)
                report["load"].append(summary(kind, rate, spoken))
                show(report["load"][-1])
    sustained = [
        row["audio_seconds_a_second"] for row in report["load"] if row.get("real_time_share", 0.0) >= REAL_TIME_SHARE
    ]
    # Audio seconds a second is, by Little's law, how many streams are being heard at once.
    report["real_time_streams_sustained"] = max(sustained, default=0.0)
    print(f"real-time streams sustained: {report['real_time_streams_sustained']:.1f}")
    return report


def show_throughput(throughput: dict[str, Any]) -> None:
    for row in throughput["rounds"]:
        print(f"library, in sequence {row['library_seconds']:6.2f} s   server, at once {row['server_seconds']:6.2f} s")
    print(f"server against library: {throughput['ratio']:.2f} times the throughput (median)", flush=True)


def show(row: dict[str, Any]) -> None:
    line = f"{row['kind']:6} {row['rate']:5.2f} a second  {row['requests']:4} requests  {row['failed']} failed"
    if "latency_seconds" in row:
        latency, first = row["latency_seconds"], row["first_audio_seconds"]
        line += "  latency p50 {p50:.2f} p95 {p95:.2f} p99 {p99:.2f} s".format(**latency)
        line += f"  first audio p50 {first['p50']:.2f} p95 {first['p95']:.2f} s"
    if "real_time_share" in row:
        line += f"  real-time {row['real_time_share']:.0%}"
    print(line, *row["errors"], flush=True)


def plot(report: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), sharex=True)
    for axis, key, title in (
        (axes[0], "latency_seconds", "time to the whole, s"),
        (axes[1], "first_audio_seconds", "time to first audio, s"),
    ):
        for kind, colour in (("whole", "tab:blue"), ("stream", "tab:orange")):
            rows = [row for row in report["load"] if row["kind"] == kind and key in row]
            rates = [row["rate"] for row in rows]
            for level, style in (("p50", "o-"), ("p95", "s--"), ("p99", "^:")):
                values = [row[key][level] for row in rows]
                axis.plot(rates, values, style, color=colour, label=f"{kind}, {level}", markersize=4)
        axis.set(xlabel="requests a second", ylabel=title, yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="grpc://HOST:PORT of the server")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.25, 0.5, 1.0], help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of arrivals at each rate")
    parser.add_argument("--limit", type=int, default=1000, help="requests at each rate, at most")
    parser.add_argument("--bundle", type=Path, help="the voice that is served: compare with the library")
    parser.add_argument("--backend", default="auto", help="of the library")
    parser.add_argument("--texts", type=int, default=16, help="in a round of the comparison")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--plot", type=Path, help="picture of the figures")
    arguments = parser.parse_args()
    report = asyncio.run(measure(arguments))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plot is not None:
        plot(report, arguments.plot)


if __name__ == "__main__":
    main()
