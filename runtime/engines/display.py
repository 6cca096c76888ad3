"""Builds on the terminal: a bar where TensorRT tells how far it is, else something that turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from .builder import Progress


class TerminalDisplay:
    """On standard error, so that what a command prints stays its own."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False)

    @contextmanager
    def building(self, graph: str) -> Iterator[Progress]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[graph]:12}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        start = perf_counter()
        with Bars(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bars:
            task = bars.add_task("", total=None, graph=graph)

            def progress(phase: str, fraction: float | None) -> None:
                bars.update(task, description=phase, total=None if fraction is None else 1.0, completed=fraction)

            yield progress
        self.say(f"{graph:12} built in {perf_counter() - start:.1f} s")
