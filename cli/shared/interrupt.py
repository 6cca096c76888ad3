"""Ctrl-C ends a command within a second, even while a graph runs, and completes what is being written first."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runtime.output.growing import SpeechOutput

EXIT_CODE = 130  # a shell's exit code for SIGINT
GRACE = 0.5  # seconds in which the main thread may end by itself

Finish = Callable[[], str]
_unfinished: list[Finish] = []  # of the blocks that are running, the innermost last
_lock = threading.Lock()


@contextmanager
def at_interrupt(finish: Finish) -> Iterator[None]:
    """If the block is interrupted, call `finish`, which completes its output, and print the line that it returns.

    It may be called in another thread, while the main thread is inside a graph.
    """
    _unfinished.append(finish)
    try:
        yield
    except KeyboardInterrupt:
        _finish_all()
        raise
    finally:
        with _lock:
            if finish in _unfinished:
                _unfinished.remove(finish)


@contextmanager
def completed_at_interrupt(output: SpeechOutput) -> Iterator[SpeechOutput]:
    """Finish the output at the end of the block; if it is interrupted, complete what has been written so far."""

    def finish() -> str:
        if not output.seconds:
            output.discard()
            return f"{output.path}: nothing was written"
        output.finish()
        return f"{output.path}: complete up to the interruption, {output.seconds:.2f} s of audio"

    with output, at_interrupt(finish):
        yield output


@contextmanager
def ending_promptly() -> Iterator[None]:
    """Within this block, an interrupt that the main thread does not notice within GRACE ends the process.

    Python raises KeyboardInterrupt only between two of its own instructions, and a graph may run for a minute. But it
    writes a byte to this socket at once, which a thread waits for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched, written = socket.socketpair()
    written.setblocking(False)
    previous = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(watched,), name="watch-interrupt", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        written.close()  # ends the thread


@contextmanager
def finishing() -> Iterator[None]:
    """Within this block, which has a handler of its own for interrupts, nothing ends the process after GRACE."""
    previous = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)


def end() -> None:
    """Say that the command was interrupted and end the process, without waiting for threads of a library."""
    print("interrupted", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(EXIT_CODE)


def _watch(watched: socket.socket) -> None:
    while True:
        received = watched.recv(1)
        if not received:
            watched.close()
            return
        if received[0] == signal.SIGINT:
            time.sleep(GRACE)
            _finish_all()
            end()


def _finish_all() -> None:
    if _lock.acquire(timeout=GRACE):  # the other thread may be stuck in a pipe that nobody reads
        try:
            while _unfinished:
                print(_unfinished.pop()(), file=sys.stderr)
        finally:
            _lock.release()
