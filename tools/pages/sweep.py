"""Measures how the time grows with tokens, frames, batch, threads and vocoder windows, and fits lines to it.

Everything is timed in rounds, and the fastest run of each counts: a machine that is slower for a minute should not bend
a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...benchmarks.clock import summary
from ...benchmarks.conditions import memory_used
from ...benchmarks.pipelines import BundlePipeline
from ...benchmarks.workload import Workload
from ...runtime.backends.base import Compute
from ...runtime.noise import Noise
from ...runtime.options import SpeechOptions

BASE = Workload()
SWEEPS = {
    "tokens": [Workload(tokens=tokens) for tokens in (16, 32, 64, 128, 256)],
    "frames": [Workload(frames=frames) for frames in (40, 80, 150, 300, 600)],
    "batch": [Workload(batch=batch) for batch in (1, 2, 4, 8)],
}
NVIDIA = [Workload(batch, 128, 600) for batch in (1, 4)]  # the protocol of the tables published with NVIDIA's example
WINDOWS = (32, 64, 128, 256, 512)  # new frames

Way = tuple[str, Compute]  # a backend, and what it computes with
Progress = Callable[[str], None]
Report = dict[str, Any]
Run = Callable[[], float]  # returns seconds


def measure(bundle: Path, ways: Sequence[Way], threads: int, runs: int, progress: Progress) -> Report:
    """Return rows of every workload, of NVIDIA's and of one thread, the fitted lines, and the vocoder's windows.

    A row's "seconds" summarize its runs; those of lines and windows are of the fastest run. A line's "x" are tokens,
    frames or items; its "slope" and "slope_error" are seconds per x and their standard error, "constant" the seconds at
    x = 0. "memory_bytes" is what loading the pipeline added.
    """
    pipelines, memory = _load(bundle, ways, threads, progress)
    alone = _load(bundle, ways, 1, progress)[0] if threads > 1 else {}
    works = list(dict.fromkeys(work for swept in SWEEPS.values() for work in swept))
    spoken = {(key, work): _speak(pipeline, work) for work in works + NVIDIA for key, pipeline in pipelines.items()}
    single = {(key, BASE): _speak(pipeline, BASE) for key, pipeline in alone.items()}
    windows = {(key, n): _vocode(pipeline, n) for key, pipeline in pipelines.items() for n in _new_frames(pipeline)}
    seconds = _time_in_rounds([*spoken.values(), *single.values(), *windows.values()], runs, progress)

    def rows_of(timed: Mapping[tuple[str, Workload], Run], works: Sequence[Workload]) -> list[Report]:
        entries = [(key, work, run) for (key, work), run in timed.items() if work in works]
        return [{"pipeline": key, **vars(work), "seconds": summary(seconds[run])} for key, work, run in entries]

    def line(key: str, name: str, swept: Sequence[Workload]) -> Report:
        return _fit([getattr(work, name) for work in swept], [min(seconds[spoken[key, work]]) for work in swept])

    return {
        "rows": rows_of(spoken, works),
        "protocol": rows_of(spoken, NVIDIA),
        "one_thread": rows_of(single, [BASE]),
        "slopes": {name: {key: line(key, name, swept) for key in pipelines} for name, swept in SWEEPS.items()},
        "windows": {
            key: [_describe_window(pipeline, n, seconds[windows[key, n]]) for n in _new_frames(pipeline)]
            for key, pipeline in pipelines.items()
        },
        "memory_bytes": memory,
    }


def _load(
    bundle: Path, ways: Sequence[Way], threads: int, progress: Progress
) -> tuple[dict[str, BundlePipeline], dict[str, int]]:
    """The pipelines, and the bytes that loading each added."""
    pipelines, memory = dict[str, BundlePipeline](), dict[str, int]()
    for backend, compute in ways:
        progress(f"loading {backend}, {compute}, {threads} threads")
        before = memory_used(None)
        pipeline = BundlePipeline(bundle, backend, threads=threads, compute=compute)
        key = f"{backend}, {pipeline.precision}"
        pipelines[key], memory[key] = pipeline, memory_used(None) - before
    return pipelines, memory


def _time_in_rounds(timed: Sequence[Run], count: int, progress: Progress) -> dict[Run, list[float]]:
    """Return the seconds of each. Every round runs them all; one before the others warms up."""
    seconds: dict[Run, list[float]] = {run: [] for run in timed}
    for i in range(count + 1):
        progress(f"round {i} of {count}" if i else "warming up")
        for run in timed:
            latest = run()
            if i:
                seconds[run].append(latest)
    return seconds


def _fit(xs: Sequence[int], seconds: Sequence[float]) -> Report:
    (slope, constant), covariance = np.polyfit(xs, seconds, 1, cov=True)
    error = float(np.sqrt(covariance[0, 0]))
    return {"x": xs, "seconds": seconds, "slope": float(slope), "slope_error": error, "constant": float(constant)}


def _speak(pipeline: BundlePipeline, work: Workload) -> Run:
    return lambda: sum(pipeline.synthesize(work)[1].values())


def _vocode(pipeline: BundlePipeline, frames: int) -> Run:
    """The vocoder on one window in the middle of a mel, with its whole receptive field on both sides."""
    voice = pipeline.synthesizer
    mel = np.random.default_rng(0).normal(-5.0, 1.0, (voice.manifest.audio.n_mel_channels, frames + 300))
    options = SpeechOptions().resolve(voice.manifest)

    def run() -> float:
        begin = time.perf_counter()
        voice.vocoder.window(mel.astype(np.float32), 150, 150 + frames, Noise(0), options)
        return time.perf_counter() - begin

    return run


def _new_frames(pipeline: BundlePipeline) -> Sequence[int]:
    """New frames of the windows to time: those that fill the fixed sizes, if the vocoder has such."""
    settings = pipeline.synthesizer.manifest.vocoder
    sizes = pipeline.synthesizer.backend.open(settings.kind).window_sizes
    context = settings.frames_before + settings.frames_after
    return [size - context for size in sizes if size > context] or WINDOWS


def _describe_window(pipeline: BundlePipeline, frames: int, seconds: Sequence[float]) -> Report:
    settings = pipeline.synthesizer.manifest.vocoder
    seen = settings.frames_before + frames + settings.frames_after
    return {"frames": seen, "new_frames": frames, "seconds": min(seconds)}
