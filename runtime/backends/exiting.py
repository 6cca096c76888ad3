"""Keeps the interpreter from ending in the middle of a call into a native library.

A thread that would come back from C++ to an interpreter that has ended is unwound through frames that permit no
exception, which aborts the process and loses its exit code.
"""

from __future__ import annotations

import atexit
import os
import time

POLL_SECONDS = 0.005


class NativeCalls:
    """The calls that are under way: `with native_calls:` around each; without a lock, as steps take microseconds."""

    def __init__(self) -> None:
        self._running: list[None] = []  # one for each; appending and popping are atomic
        self._closed = False

    def __enter__(self) -> None:
        self._running.append(None)  # before the look at _closed, which `close` sets before it looks at these
        if self._closed:
            self._running.pop()
            raise SystemExit  # ends a thread without a word

    def __exit__(self, *_: object) -> None:
        self._running.pop()

    def close(self) -> None:
        """Wait for the calls that are under way; threads that would begin another end instead."""
        self._closed = True
        while self._running:
            time.sleep(POLL_SECONDS)

    def forget(self) -> None:
        """Forget them in a forked process, which does not have their threads."""
        self._running.clear()


native_calls = NativeCalls()
atexit.register(native_calls.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=native_calls.forget)
