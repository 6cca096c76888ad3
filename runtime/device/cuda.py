"""A CUDA device's memory, stream, events and graphs, through cuda-core."""

from __future__ import annotations

import importlib.util
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import BackendError
from .queue import CaptureError, DeviceArray, Enqueue, Queue


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    compute_capability: tuple[int, int]


def missing_gpu() -> str | None:
    """What keeps this machine from running anything on a GPU, with the way out; None if nothing."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.core") is None:
        return "cuda-core is not installed (pip install 'tacoglow[gpu]')"
    try:
        find_gpu(0)
    except BackendError as error:
        return str(error)
    return None


def find_gpu(index: int) -> Gpu:
    """The GPU of that index. Raises BackendError if there is none."""
    device = _device(index)
    capability = device.compute_capability
    return Gpu(index, device.name, (capability.major, capability.minor))


def _device(index: int) -> Any:
    """The GPU, as this thread's current one."""
    try:
        from cuda.core import Device

        device = Device(index)
        device.set_current()
    except ImportError as error:
        raise BackendError(f"cuda-core cannot be imported: {error} (pip install 'tacoglow[gpu]')") from error
    except Exception as error:  # the driver's absence, its errors and an index out of range share no base class
        absent = type(error).__name__ == "DynamicLibNotFoundError"
        reason = "no NVIDIA driver is installed" if absent else str(error).splitlines()[0]
        raise BackendError(f"GPU {index} cannot be used: {reason}") from error
    return device


class CudaQueue(Queue):
    """One stream of a GPU, other than the default one, which graphs cannot be captured from.

    CUDA keeps a current GPU for each thread, so every call here makes its own current first: a voice may be loaded in
    one thread and speak in another, and other libraries may have chosen another GPU since.
    """

    def __init__(self, index: int) -> None:
        from cuda.core import LegacyPinnedMemoryResource

        self._index = index
        self.stream = _device(index).create_stream()
        self._pinned_memory = LegacyPinnedMemoryResource()

    @property
    def handle(self) -> int:
        """The stream's address, as TensorRT and ONNX Runtime take it."""
        return int(self.stream.handle)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = _device(self._index).allocate(max(1, nbytes), stream=self.stream)
        return DeviceArray(int(buffer.handle), tuple(shape), np.dtype(dtype), buffer)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        _device(self._index)
        buffer = self._pinned_memory.allocate(max(1, math.prod(shape) * np.dtype(dtype).itemsize))
        return np.asarray(_HostView(buffer, shape, np.dtype(dtype)))

    def upload(self, target: DeviceArray, source: NDArray[Any]) -> None:
        self._copy(target.address, source.ctypes.data, target.nbytes)

    def download(self, target: NDArray[Any], source: DeviceArray) -> None:
        self._copy(target.ctypes.data, source.address, source.nbytes)

    def _copy(self, target: int, source: int, nbytes: int) -> None:
        from cuda.core import Buffer

        _device(self._index)
        if nbytes:
            copied = Buffer.from_handle(source, nbytes)
            Buffer.from_handle(target, nbytes).copy_from(copied, stream=self.stream)

    def zero(self, array: DeviceArray) -> None:
        from cuda.core import Buffer

        _device(self._index)
        Buffer.from_handle(array.address, array.nbytes).fill(0, stream=self.stream)

    def record(self) -> _CudaEvent:
        _device(self._index)
        return _CudaEvent(self._index, self.stream.record())

    def capture(self, enqueue: Enqueue) -> Enqueue:
        _device(self._index)
        builder = self.stream.create_graph_builder()
        try:
            builder.begin_building()
            enqueue()
            graph = builder.end_building().complete()
        except Exception as error:  # what the driver, cuda-core and the engines raise share no base class
            raise CaptureError(str(error)) from error
        finally:
            with suppress(Exception):  # ends a capture that failed, and raises that failure once more
                builder.close()

        def launch() -> None:
            _device(self._index)
            graph.launch(self.stream)

        return launch


@dataclass(frozen=True)
class _CudaEvent:
    index: int
    event: Any

    def wait(self) -> None:
        _device(self.index)
        self.event.sync()


class _HostView:
    """A pinned buffer as NumPy takes it; an array made of this keeps it, and so the buffer."""

    def __init__(self, buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(shape),
            "typestr": dtype.str,
            "data": (int(buffer.handle), False),
        }
