"""Memory, stream, events and CUDA graphs of a GPU, through cuda-core and the driver's bindings."""

from __future__ import annotations

import gc
import importlib.util
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...errors import BackendError
from .driver import install_command

Enqueue = Callable[[], None]  # enqueues work on the stream and returns at once
ALIGNMENT = 256  # bytes; TensorRT requires every address to be a multiple of this


class CaptureError(Exception):
    """The work cannot be captured as a CUDA graph; it can still be enqueued."""


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    compute_capability: tuple[int, int]


def gpu_unavailable_reason() -> str | None:
    """Return why this machine's GPU cannot be used, with the fix; None if it can."""
    for package, module in (("cuda-core", "cuda.core"), ("cuda-bindings", "cuda.bindings")):
        if importlib.util.find_spec("cuda") is None or importlib.util.find_spec(module) is None:
            return f"{package} is not installed ({install_command()})"
    try:
        find_gpu(0)
    except BackendError as error:
        return str(error)
    return None


def find_gpu(index: int) -> Gpu:
    """Find the GPU of that index. Raises BackendError if it cannot be used."""
    device = _make_current(index)
    capability = device.compute_capability
    return Gpu(index, device.name, (capability.major, capability.minor))


@dataclass(frozen=True)
class DeviceMemory:
    free: int  # bytes
    total: int  # bytes


def device_memory(index: int) -> DeviceMemory:
    """Measure a GPU's memory, including that of other processes."""
    from cuda.bindings import driver

    _make_current(index)
    status, free, total = driver.cuMemGetInfo()
    _check((status,), BackendError)
    return DeviceMemory(int(free), int(total))


def _make_current(index: int) -> Any:
    """Make a GPU this thread's current one, and return its cuda-core device."""
    try:
        from cuda.core import Device

        device = Device(index)
        device.set_current()
    except ImportError as error:
        raise BackendError(f"cuda-core cannot be imported: {error} ({install_command()})") from error
    except Exception as error:  # driver errors, a missing driver and a bad index have no common base class
        absent = type(error).__name__ == "DynamicLibNotFoundError"
        reason = "no NVIDIA driver is installed" if absent else str(error).splitlines()[0]
        raise BackendError(f"GPU {index} cannot be used: {reason}") from error
    return device


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array in a GPU's memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object  # the memory is freed with this object

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class CudaStream:
    """One non-default stream of a GPU, because CUDA graphs cannot be captured on the default one. Not thread-safe.

    CUDA's current GPU is set per thread, so every method makes its own GPU current first: a voice may be loaded in one
    thread and used in another, and other libraries may have selected a different GPU meanwhile.
    """

    def __init__(self, index: int) -> None:
        from cuda.core import LegacyPinnedMemoryResource

        self._index = index
        self._stream = _make_current(index).create_stream()
        self._pinned_memory = LegacyPinnedMemoryResource()

    @property
    def handle(self) -> int:
        """The cudaStream_t as a number, for TensorRT and ONNX Runtime."""
        return int(self._stream.handle)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Allocate uninitialized, aligned GPU memory."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = _make_current(self._index).allocate(max(1, nbytes), stream=self._stream)
        return DeviceArray(int(buffer.handle), tuple(shape), np.dtype(dtype), buffer)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate pinned host memory, for copies during which the host does not wait."""
        _make_current(self._index)
        buffer = self._pinned_memory.allocate(max(1, math.prod(shape) * np.dtype(dtype).itemsize))
        return np.asarray(_PinnedView(buffer, shape, np.dtype(dtype)))

    def upload(self, target: DeviceArray, source: NDArray[Any]) -> None:
        """Enqueue a copy. A pinned source must not change before the copy is done; other sources may change at once."""
        self._copy(target.address, source.ctypes.data, target.nbytes)

    def download(self, target: NDArray[Any], source: DeviceArray) -> None:
        """Enqueue a copy; it is done once an event that was recorded after it has been waited for."""
        self._copy(target.ctypes.data, source.address, source.nbytes)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Enqueue a copy within the GPU's memory."""
        self._copy(target.address, source.address, source.nbytes)

    def _copy(self, target: int, source: int, nbytes: int) -> None:
        from cuda.core import Buffer

        _make_current(self._index)
        if nbytes:
            copied = Buffer.from_handle(source, nbytes)
            Buffer.from_handle(target, nbytes).copy_from(copied, stream=self._stream)

    def zero(self, array: DeviceArray) -> None:
        """Enqueue filling an array with zeros."""
        from cuda.core import Buffer

        _make_current(self._index)
        Buffer.from_handle(array.address, array.nbytes).fill(0, stream=self._stream)

    def record(self) -> CudaEvent:
        """Record an event after all work enqueued so far."""
        _make_current(self._index)
        return CudaEvent(self._index, self._stream.record())

    def record_time(self) -> CudaEvent:
        """Record an event that also keeps its time, for `CudaEvent.seconds_since`."""
        from cuda.core import EventOptions

        _make_current(self._index)
        return CudaEvent(self._index, self._stream.record(options=EventOptions(timing_enabled=True)))

    def capture(self, enqueue: Enqueue) -> Enqueue:
        """Capture the work of `enqueue` as one CUDA graph; returns the call that launches the graph.

        Capturing runs nothing; every launch uses the captured addresses. Raises CaptureError.
        """
        from cuda.bindings import driver

        _make_current(self._index)
        stream, mode = driver.CUstream(self.handle), driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        with _garbage_collection_paused():
            _check(driver.cuStreamBeginCapture(stream, mode))
            try:
                enqueue()
                failure = None
            except Exception as error:  # errors of the driver, cuda-core and the engines share no base class
                failure = error
            # An invalidated capture has no graph to destroy: destroying what it returns crashes the process.
            status, graph = driver.cuStreamEndCapture(stream)
        try:
            if failure is not None:
                raise CaptureError(str(failure)) from failure
            _check((status,))
            executable = _check(driver.cuGraphInstantiate(graph, 0))
        finally:
            if status == driver.CUresult.CUDA_SUCCESS:
                driver.cuGraphDestroy(graph)

        # The graph runs what an execution context owns; the default argument keeps the context alive, with `enqueue`.
        def launch(_keep_alive: Enqueue = enqueue) -> None:
            _make_current(self._index)
            _check(driver.cuGraphLaunch(executable, stream), BackendError)

        weakref.finalize(launch, driver.cuGraphExecDestroy, executable)
        return launch


def _check(results: tuple[Any, ...], error: type[Exception] = CaptureError) -> Any:
    """Return the value of a driver call, whose first result is its status. Raises `error` if the call failed."""
    from cuda.bindings import driver

    status, *values = results
    if status != driver.CUresult.CUDA_SUCCESS:
        raise error(f"{status.name} ({driver.cuGetErrorString(status)[1].decode()})")
    return values[0] if values else None


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection: a buffer that is freed on the captured stream would end the capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True)
class CudaEvent:
    index: int
    event: Any

    def wait(self) -> None:
        """Block until all work enqueued before the event is done."""
        _make_current(self.index)
        self.event.sync()

    def seconds_since(self, earlier: CudaEvent) -> float:
        """Return the GPU's seconds between two events of `record_time`; waits for this one."""
        self.wait()
        return float(self.event - earlier.event) / 1e3


class Slots:
    """n aligned arrays of one shape and dtype in one block of GPU memory."""

    def __init__(self, stream: CudaStream, n: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._stream, self.count, self.shape, self.dtype = stream, n, shape, np.dtype(dtype)
        # Bytes from one array to the next.
        self.pitch = -(-math.prod(shape) * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.memory = stream.empty((n, self.pitch), np.uint8)

    def __getitem__(self, i: int) -> DeviceArray:
        """Return the i-th array; -1 is the last."""
        address = self.memory.address + i % self.count * self.pitch
        return DeviceArray(address, self.shape, self.dtype, self.memory.owner)

    def pinned(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Allocate a pinned block of the size of `memory`; returns the block, and a view of its arrays [n, *shape]."""
        block = self._stream.pinned(self.memory.shape, np.uint8)
        one = np.empty(self.shape, self.dtype)
        arrays = np.ndarray((len(block), *self.shape), self.dtype, block, strides=(self.pitch, *one.strides))
        return block, arrays


class _PinnedView:
    """Exposes a pinned buffer to NumPy; an array over this view keeps the buffer alive."""

    def __init__(self, buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(shape),
            "typestr": dtype.str,
            "data": (int(buffer.handle), False),
        }
