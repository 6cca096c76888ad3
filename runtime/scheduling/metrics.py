"""Counters and the present state of a scheduler."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from ..errors import Cancelled


@dataclass(frozen=True)
class SchedulerMetrics:
    """Counters since the start, then the present state."""

    requests: int = 0  # accepted
    refused: int = 0  # because too much waited
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    decoder_steps: int = 0  # whatever the number of rows
    decoded_rows: int = 0  # rows of all those steps; decoded_rows / decoder_steps is the mean occupancy
    audio_seconds: float = 0.0  # of finished speech
    first_audio_count: int = 0
    first_audio_seconds: float = 0.0  # the sum of the waits for first audio
    queued: int = 0  # requests that wait for their first decoder step
    active: int = 0  # requests that have begun
    rows: int = 0  # of the latest decoder step
    max_rows: int = 0
    # Of the latest finished stream: seconds of speech by the seconds that they took after its first audio.
    real_time_margin: float = 0.0


class MetricsCounter:
    """Counts what happens; thread-safe."""

    def __init__(self, max_rows: int) -> None:
        self._lock = threading.Lock()
        self._now = SchedulerMetrics(max_rows=max_rows)

    def snapshot(self) -> SchedulerMetrics:
        return self._now

    def submitted(self) -> None:
        self._add(requests=1, queued=1)

    def refused(self) -> None:
        self._add(refused=1)

    def begun(self) -> None:
        """A request that waited has its first row."""
        self._add(queued=-1, active=1)

    def decoded(self, rows: int, steps: int) -> None:
        with self._lock:
            self._now = replace(self._now, rows=rows)
        self._add(decoder_steps=steps, decoded_rows=steps * rows)

    def first_audio(self, seconds: float) -> None:
        self._add(first_audio_count=1, first_audio_seconds=seconds)

    def ended(self, was_begun: bool, error: Exception | None) -> None:
        """A request has ended; error: why it failed, None if it is complete."""
        is_cancelled = isinstance(error, Cancelled)
        outcome = {"finished" if error is None else "cancelled" if is_cancelled else "failed": 1}
        self._add(**outcome, **{"active" if was_begun else "queued": -1})

    def spoken(self, seconds: float, margin: float | None) -> None:
        """A request is complete. margin: of a stream, its speech's seconds by those after its first audio."""
        self._add(audio_seconds=seconds)
        if margin is not None:
            with self._lock:
                self._now = replace(self._now, real_time_margin=margin)

    def _add(self, **amounts: float) -> None:
        with self._lock:
            self._now = replace(self._now, **{name: getattr(self._now, name) + n for name, n in amounts.items()})
