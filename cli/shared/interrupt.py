"""Ctrl-C completes what is being written, then ends the command; a second one ends it at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runtime.output.growing import SpeechOutput

EXIT_CODE = 130  # a shell's exit code for SIGINT


@contextmanager
def at_interrupt(finish: Callable[[], str]) -> Iterator[None]:
    """Call `finish`, which completes the output, if the block is interrupted, and print the line that it returns."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever does not want to wait for the rest presses it again
        print(finish(), file=sys.stderr)
        raise


@contextmanager
def completed_at_interrupt(output: SpeechOutput) -> Iterator[None]:
    """Finish the output at the end of the block; if it is interrupted, complete what has been written so far."""

    def finish() -> str:
        if not output.seconds:
            output.discard()
            return f"{output.path}: nothing was written"
        output.finish()
        return f"{output.path}: complete up to the interruption, {output.seconds:.2f} s of audio"

    with output, at_interrupt(finish):
        yield
