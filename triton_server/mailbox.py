"""Passes items from a thread that reads a connection to the thread that uses them, with deadlines for the latter.

The reading thread may block for as long as the other side likes; the using thread never waits past its deadlines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")
CAPACITY = 8  # items that wait for the using thread
RETRY_SECONDS = 0.1


class Mailbox(Generic[Item]):
    """A queue of bounded length; once closed, further items are dropped."""

    def __init__(self, seconds: float, total_seconds: float) -> None:
        """seconds: longest wait for one item. total_seconds: longest time until the last one."""
        self._seconds, self._end = seconds, time.monotonic() + total_seconds
        self._queue: Queue[Item] = Queue(CAPACITY)
        self._closed = threading.Event()

    def put(self, item: Item) -> None:
        """Add an item; blocks while the queue is full, until it is closed."""
        while not self._closed.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=RETRY_SECONDS)
                return

    def get(self) -> Item:
        """Return the next item. Raises TimeoutError after a deadline."""
        left = self._end - time.monotonic()
        try:
            return self._queue.get(timeout=max(0.0, min(self._seconds, left)))
        except Empty:
            raise TimeoutError from None

    def close(self) -> None:
        self._closed.set()


def read_in_thread(
    items: Iterator[Item], abort: Callable[[], None], seconds: float, total_seconds: float
) -> Generator[Item, None, None]:
    """Yield the items of an iterator that runs in a thread of its own, and raise its exceptions.

    abort: makes a blocked iterator end; called at the end. Raises TimeoutError if an item takes longer than `seconds`,
    or all together longer than `total_seconds`.
    """
    mailbox = Mailbox[Item | BaseException | None](seconds, total_seconds)  # None: the end

    def read() -> None:
        try:
            for item in items:
                mailbox.put(item)
            mailbox.put(None)
        except BaseException as error:
            mailbox.put(error)

    threading.Thread(target=read, name="read-server", daemon=True).start()
    try:
        while (item := mailbox.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        mailbox.close()
        abort()
