"""Memory, stream, events and CUDA graphs of a GPU, through cuda-core and the driver's bindings."""

from __future__ import annotations

import gc
import importlib.util
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
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


def gpu_unavailable_reason(index: int = 0) -> str | None:
    """Return why the GPU of that index cannot be used, with the fix; None if it can."""
    for package, module in (("cuda-core", "cuda.core"), ("cuda-bindings", "cuda.bindings")):
        if importlib.util.find_spec("cuda") is None or importlib.util.find_spec(module) is None:
            return f"{package} is not installed ({install_command()})"
    try:
        find_gpu(index)
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
        from cuda.bindings import driver
        from cuda.core import LegacyPinnedMemoryResource

        self._index = index
        self._stream = _make_current(index).create_stream()
        self._handle = driver.CUstream(int(self._stream.handle))
        self._pinned_memory = LegacyPinnedMemoryResource()

    @property
    def handle(self) -> int:
        """The cudaStream_t as a number, for TensorRT and ONNX Runtime."""
        return int(self._handle)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Allocate uninitialized, aligned GPU memory."""
        nbytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        device = _make_current(self._index)
        with self._explained(nbytes, "GPU memory"):
            buffer = device.allocate(nbytes, stream=self._stream)
        return DeviceArray(int(buffer.handle), tuple(shape), np.dtype(dtype), buffer)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate pinned host memory, for copies during which the host does not wait."""
        nbytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        _make_current(self._index)
        with self._explained(nbytes, "pinned host memory"):
            buffer = self._pinned_memory.allocate(nbytes)
        return np.asarray(_PinnedView(self, buffer, shape, np.dtype(dtype)))

    @contextmanager
    def _explained(self, nbytes: int, memory: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # cuda-core's errors have no public base class
            reason = str(error).splitlines()[0]
            raise BackendError(
                f"GPU {self._index}: cannot allocate {nbytes} bytes of {memory}: {reason}; stop what else uses the "
                "GPU, or build smaller engines: tacoglow build-engines, with --max-batch, --max-tokens, --max-frames"
            ) from error

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
        from cuda.bindings import driver

        _make_current(self._index)
        if nbytes:
            _check(driver.cuMemcpyAsync(target, source, nbytes, self._handle), BackendError)

    def zero(self, array: DeviceArray) -> None:
        """Enqueue filling an array with zeros."""
        from cuda.bindings import driver

        _make_current(self._index)
        _check(driver.cuMemsetD8Async(array.address, 0, array.nbytes, self._handle), BackendError)

    def launch(self, config: Any, kernel: Any, *arguments: Any) -> None:
        """Enqueue a kernel. arguments: addresses as int, numbers as NumPy scalars, in the kernel's order."""
        from cuda.core import launch

        _make_current(self._index)
        launch(self._stream, config, kernel, *arguments)

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
        # An engine that allocates or copies outside of the stream fails: that would be missing in the graph.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        stream = self._handle
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


class _PinnedView:
    """Exposes a pinned buffer to NumPy; an array over this view keeps the buffer alive.

    It is freed when the stream's copies are done: unlike the GPU's memory, it is not freed in the stream's order.
    """

    def __init__(self, stream: CudaStream, buffer: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.stream, self.buffer = stream, buffer
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(shape),
            "typestr": dtype.str,
            "data": (int(buffer.handle), False),
        }

    def __del__(self) -> None:
        with suppress(Exception):  # at the interpreter's end, or on a GPU that has failed
            self.stream.record().wait()
