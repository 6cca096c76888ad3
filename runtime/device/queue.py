"""A device's memory, and its queue of work that is done in order while the host goes on.

What runs on a GPU is written against this; the implementation over CUDA is cuda.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Enqueue = Callable[[], None]  # puts work into the queue and returns at once


class CaptureError(Exception):
    """The work cannot be captured as a graph; it can still be enqueued."""


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array in a device's memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object  # what keeps the memory alive

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, i: int) -> DeviceArray:
        """The i-th entry along the first axis, over the same memory."""
        entry = DeviceArray(self.address, self.shape[1:], self.dtype, self.owner)
        return DeviceArray(self.address + i % self.shape[0] * entry.nbytes, entry.shape, self.dtype, self.owner)


class Event(Protocol):
    def wait(self) -> None:
        """Return when everything that was enqueued before the event has been done."""


class Queue(ABC):
    """Not safe for use from several threads at once."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray: ...

    @abstractmethod
    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Host memory that copies run to and from without the host waiting."""

    @abstractmethod
    def upload(self, target: DeviceArray, source: NDArray[Any]) -> None:
        """Enqueue a copy. Pinned memory must not be changed before it is done; other memory may be at once."""

    @abstractmethod
    def download(self, target: NDArray[Any], source: DeviceArray) -> None:
        """Enqueue a copy; the target holds it when an event recorded after it has been waited for."""

    @abstractmethod
    def zero(self, array: DeviceArray) -> None: ...

    @abstractmethod
    def record(self) -> Event: ...

    @abstractmethod
    def capture(self, enqueue: Enqueue) -> Enqueue:
        """What `enqueue` enqueues, as one graph: a call that launches it, over the same addresses each time.

        Nothing is run by capturing. Raises CaptureError.
        """

    def uploaded(self, array: NDArray[Any]) -> DeviceArray:
        copy = self.empty(array.shape, array.dtype)
        self.upload(copy, np.ascontiguousarray(array))
        return copy
