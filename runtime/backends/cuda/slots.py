"""Arrays that lie one after the other in a GPU's memory, by steps of a chunk, and views of their copies on the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .stream import CudaStream, DeviceArray, Enqueue

ALIGNMENT = 256  # bytes; TensorRT requires every address to be a multiple of this


class Slots:
    """n aligned arrays of one shape and dtype, one after the other in GPU memory."""

    def __init__(
        self, stream: CudaStream, n: int, shape: tuple[int, ...], dtype: DTypeLike, memory: DeviceArray | None = None
    ) -> None:
        """memory: of n times the pitch; None: it is allocated."""
        self._stream, self.count, self.shape, self.dtype = stream, n, shape, np.dtype(dtype)
        self.pitch = _pitch(shape, dtype)  # bytes from one array to the next
        self.memory = memory or stream.empty((n * self.pitch,), np.uint8)

    def __getitem__(self, i: int) -> DeviceArray:
        """Return the i-th array; -1 is the last."""
        address = self.memory.address + i % self.count * self.pitch
        return DeviceArray(address, self.shape, self.dtype, self.memory.owner)

    def pinned(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Allocate a pinned block of the size of `memory`; returns the block, and a view of its arrays [n, *shape]."""
        block = self._stream.pinned(self.memory.shape, np.uint8)
        return block, self.view(block)

    def view(self, block: NDArray[np.uint8]) -> NDArray[Any]:
        """View host memory of the size of `memory` as arrays [n, *shape]."""
        one = np.empty(self.shape, self.dtype)
        strides = self.pitch, *one.strides
        arrays: NDArray[Any] = np.ndarray((self.count, *self.shape), self.dtype, block, strides=strides)
        return arrays


class Block:
    """Slots of several shapes in one piece of GPU memory, so that one copy moves them all to the host."""

    def __init__(self, stream: CudaStream, n: int, shapes: Sequence[tuple[int, ...]], dtype: DTypeLike) -> None:
        sizes = [n * _pitch(shape, dtype) for shape in shapes]
        self._stream, self._ends = stream, list(accumulate(sizes))
        self._memory = stream.empty((self._ends[-1],), np.uint8)
        self.slots = []
        for shape, size, end in zip(shapes, sizes, self._ends, strict=True):
            part = DeviceArray(self._memory.address + end - size, (size,), np.dtype(np.uint8), self._memory.owner)
            self.slots.append(Slots(stream, n, shape, dtype, part))

    def pinned(self) -> tuple[Enqueue, list[NDArray[Any]]]:
        """Allocate pinned memory; returns the call that enqueues a copy to it, and views of its arrays by slots."""
        block = self._stream.pinned(self._memory.shape, np.uint8)
        parts = np.split(block, self._ends[:-1])
        views = [slots.view(part) for slots, part in zip(self.slots, parts, strict=True)]
        return partial(self._stream.download, block, self._memory), views


def _pitch(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // ALIGNMENT) * ALIGNMENT
