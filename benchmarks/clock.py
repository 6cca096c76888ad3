"""Laps of a run, one a stage: by the wall clock, or by events on a CUDA stream.

Work on a GPU is only queued when a call returns. Events are queued with it, and are read after one synchronisation at
the end of the run, so that timing adds no wait between two stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol


class Clock(Protocol):
    def start(self) -> None: ...

    def lap(self, stage: str) -> None:
        """The stage that began at the last lap, or at the start, ends here."""

    def seconds(self) -> dict[str, float]:
        """Of every stage since the start; waits until all of it has been done."""


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
    """new_event makes what torch.cuda.Event(enable_timing=True) is: record(), synchronize(), elapsed_time() in ms."""

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
    """device: "cpu" or a CUDA device, as PyTorch names them."""
    if device == "cpu":
        return WallClock()
    import torch

    return EventClock(lambda: torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
