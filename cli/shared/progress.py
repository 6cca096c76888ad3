"""A progress bar on a terminal: the pieces or lines that are spoken, the audio made so far, and how fast."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class SpeechProgress:
    """A bar while the block runs, if standard error is a terminal and `is_shown`; otherwise nothing."""

    def __init__(self, total: int | None, is_shown: bool = True) -> None:
        """total: pieces of a text, or lines of a list; None: not known."""
        self._total, self._is_shown = total, is_shown
        self._seconds = 0.0  # of audio
        self._start = time.perf_counter()
        self._progress: Progress | None = None

    def __enter__(self) -> SpeechProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = Console(stderr=True)
        if self._is_shown and console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[made]}"))
            self._progress = Progress(*columns, console=console, transient=True)
            self._progress.add_task("", total=self._total, made="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def add(self, audio_seconds: float) -> None:
        """Count one more piece or line, and the seconds of its audio."""
        self._seconds += audio_seconds
        if self._progress is not None:
            rate = self._seconds / (time.perf_counter() - self._start)
            made = f"{self._seconds:.1f} s of audio, {rate:.1f} times real time"
            self._progress.update(self._progress.task_ids[0], advance=1, made=made)
