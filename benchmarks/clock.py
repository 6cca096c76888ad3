"""Times the stages of a run, by the wall clock or by events on a CUDA stream, and summarizes repeated runs.

Calls that run on a GPU return before the work is done. Events are enqueued with the work and are read after one
synchronization at the end of the run, so that timing adds no synchronization between two stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

PERCENTILES = (50, 90, 95, 99)


class Clock(Protocol):
    def start(self) -> None: ...

    def lap(self, stage: str) -> None:
        """End the stage that began at the previous lap, or at the start."""

    def seconds(self) -> dict[str, float]:
        """Seconds per stage since the start; waits until all stages are done."""


class WallClock:
    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now

    def start(self) -> None:
        self._stages: list[str] = []
        self._times = [self._now()]

    def lap(self, stage: str) -> None:
        self._stages.append(stage)
        self._times.append(self._now())

    def seconds(self) -> dict[str, float]:
        return {stage: end - begin for stage, (begin, end) in zip(self._stages, pairwise(self._times), strict=True)}


class EventClock:
    """Times with events of the interface of torch.cuda.Event(enable_timing=True), which new_event creates:
    record(), synchronize() and elapsed_time() in milliseconds."""

    def __init__(self, new_event: Callable[[], Any]) -> None:
        self._new_event = new_event

    def start(self) -> None:
        self._stages: list[str] = []
        self._events: list[Any] = []
        self._record()

    def lap(self, stage: str) -> None:
        self._stages.append(stage)
        self._record()

    def _record(self) -> None:
        event = self._new_event()
        event.record()
        self._events.append(event)

    def seconds(self) -> dict[str, float]:
        self._events[-1].synchronize()
        return {
            stage: begin.elapsed_time(end) / 1e3
            for stage, (begin, end) in zip(self._stages, pairwise(self._events), strict=True)
        }


def clock_for(device: str) -> Clock:
    """Return a clock for "cpu" or a CUDA device, as PyTorch names devices."""
    if device == "cpu":
        return WallClock()
    import torch

    return EventClock(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Return mean, sample standard deviation, minimum, and percentiles interpolated linearly between the runs."""
    values = np.asarray(seconds, np.float64)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    figures = {"mean": float(values.mean()), "std": spread, "min": float(values.min())}
    return figures | {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
