"""Measures how the time grows with tokens, frames, batch, threads and vocoder windows, and fits lines to it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...benchmarks import speed
from ...benchmarks.conditions import memory_used
from ...benchmarks.pipelines import BundlePipeline
from ...benchmarks.workload import Preset, Workload
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


def measure(bundle: Path, ways: Sequence[Way], threads: int, runs: int, progress: Progress) -> Report:
    """Return rows of every workload and of NVIDIA's, the fitted lines, and the vocoder's time by its window.

    A line's "x" are tokens, frames or items; its "slope" and "constant" are seconds per x, and without any.
    "memory_bytes" is what loading the pipeline added.
    """
    pipelines, memory = _load(bundle, ways, threads, progress)
    manifest = next(iter(pipelines.values())).synthesizer.manifest
    hop, rate = manifest.audio.hop_length, manifest.audio.sampling_rate
    report: Report = {"rows": [], "slopes": {}, "windows": {}}

    def rows_of(works: Sequence[Workload], timed: Sequence[BundlePipeline]) -> list[dict[str, Any]]:
        return speed.measure(timed, works, None, Preset(runs=runs), hop, rate, progress)

    for name, works in SWEEPS.items():
        rows = rows_of(works, list(pipelines.values()))
        report["rows"] += rows
        report["slopes"][name] = {key: _fit(rows, key, name) for key in pipelines}
    report["protocol"] = rows_of(NVIDIA, list(pipelines.values()))
    if threads > 1:
        alone, _ = _load(bundle, ways, 1, progress)
        report["one_thread"] = rows_of([BASE], list(alone.values()))
    report["windows"] = {
        key: [_time_window(pipeline, frames, runs) for frames in _new_frames(pipeline)]
        for key, pipeline in pipelines.items()
    }
    report["memory_bytes"] = memory
    return report


def _load(
    bundle: Path, ways: Sequence[Way], threads: int, progress: Progress
) -> tuple[dict[str, BundlePipeline], dict[str, int]]:
    """The pipelines by "backend, precision", and the bytes that loading each added."""
    pipelines, memory = dict[str, BundlePipeline](), dict[str, int]()
    for backend, compute in ways:
        progress(f"loading {backend}, {compute}, {threads} threads")
        before = memory_used(None)
        pipeline = BundlePipeline(bundle, backend, threads=threads, compute=compute)
        key = f"{backend}, {pipeline.precision}"
        pipelines[key], memory[key] = pipeline, memory_used(None) - before
    return pipelines, memory


def _fit(rows: Sequence[dict[str, Any]], key: str, name: str) -> dict[str, Any]:
    own = [row for row in rows if f"{row['pipeline'].removeprefix('tacoglow ')}, {row['precision']}" == key]
    xs, seconds = [row[name] for row in own], [row["seconds"]["p50"] for row in own]
    slope, constant = np.polyfit(xs, seconds, 1)
    return {"x": xs, "seconds": seconds, "slope": float(slope), "constant": float(constant)}


def _new_frames(pipeline: BundlePipeline) -> Sequence[int]:
    """New frames of the windows to time: those that fill the fixed sizes, if the vocoder has such."""
    settings = pipeline.synthesizer.manifest.vocoder
    sizes = pipeline.synthesizer.backend.open(settings.kind).window_sizes
    context = settings.frames_before + settings.frames_after
    return [size - context for size in sizes if size > context] or WINDOWS


def _time_window(pipeline: BundlePipeline, frames: int, runs: int) -> dict[str, Any]:
    """Time the vocoder on one window in the middle of a mel, with its whole receptive field on both sides."""
    voice = pipeline.synthesizer
    settings = voice.manifest.vocoder
    mel = np.random.default_rng(0).normal(-5.0, 1.0, (voice.manifest.audio.n_mel_channels, frames + 300))
    options, seconds = SpeechOptions().resolve(voice.manifest), []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        voice.vocoder.window(mel.astype(np.float32), 150, 150 + frames, Noise(0), options)
        seconds.append(time.perf_counter() - begin)
    seen = settings.frames_before + frames + settings.frames_after
    return {"frames": seen, "new_frames": frames, "seconds": statistics.median(seconds[1:])}
