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
ALIGNMENT = 256  # bytes: TensorRT wants every address that it reads or writes at a multiple of it


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


class Event(Protocol):
    def wait(self) -> None:
        """Return when everything that was enqueued before the event has been done."""


class Queue(ABC):
    """Not safe for use from several threads at once."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Memory with anything in it, aligned."""

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


class Slots:
    """n arrays of one shape and type, in one block of memory, each aligned."""

    def __init__(self, queue: Queue, n: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._queue, self._shape, self._dtype = queue, shape, np.dtype(dtype)
        self._pitch = -(-math.prod(shape) * self._dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.memory = queue.empty((n, self._pitch), np.uint8)

    def __getitem__(self, i: int) -> DeviceArray:
        """The i-th; -1 is the last."""
        address = self.memory.address + i % self.memory.shape[0] * self._pitch
        return DeviceArray(address, self._shape, self._dtype, self.memory.owner)

    def pinned(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Host memory to copy `memory` to or from, and the slots' arrays [n, *shape] in it."""
        block = self._queue.pinned(self.memory.shape, np.uint8)
        one = np.empty(self._shape, self._dtype)
        arrays = np.ndarray((len(block), *self._shape), self._dtype, block, strides=(self._pitch, *one.strides))
        return block, arrays
