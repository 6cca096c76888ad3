"""Compares the throughput of a server, which batches simultaneous requests, with the library's in sequence."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient

from ...runtime.synthesizer import Synthesizer
from .client import infer


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
