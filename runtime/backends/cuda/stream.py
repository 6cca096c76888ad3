"""A stream of a GPU: memory, copies, kernels, events and CUDA graphs, through cuda-core and the driver's bindings."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...errors import BackendError
from .device import check, make_current

Enqueue = Callable[[], None]  # enqueues work on the stream and returns at once


class CaptureError(Exception):
    """The work cannot be captured as a CUDA graph; it can still be enqueued."""


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

    def first(self, n: int) -> DeviceArray:
        """Return the first n items."""
        return replace(self, shape=(n, *self.shape[1:]))

    def item(self, i: int) -> DeviceArray:
        """Return item i; of an array without further dimensions, an array of one."""
        one = replace(self, shape=self.shape[1:] or (1,))
        return replace(one, address=self.address + i * one.nbytes)


class CudaStream:
    """One non-default stream of a GPU, because CUDA graphs cannot be captured on the default one. Not thread-safe.

    CUDA's current GPU is set per thread, so every method makes its own GPU current first: a voice may be loaded in one
    thread and used in another, and other libraries may have selected a different GPU meanwhile. What a chunk calls sets
    the GPU's context by the driver's own call: cuda-core's takes as long as a copy.
    """

    def __init__(self, index: int) -> None:
        from cuda.bindings import driver
        from cuda.core import LegacyPinnedMemoryResource

        self._index, self._driver = index, driver
        self._stream = make_current(index).create_stream()
        self._context = check(driver.cuCtxGetCurrent())
        self._handle = driver.CUstream(int(self._stream.handle))
        self._pinned_memory = LegacyPinnedMemoryResource()

    def use(self) -> None:
        """Make its GPU this thread's current one."""
        check(self._driver.cuCtxSetCurrent(self._context))

    @property
    def handle(self) -> int:
        """The cudaStream_t as a number, for TensorRT and ONNX Runtime."""
        return int(self._handle)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Allocate uninitialized, aligned GPU memory."""
        nbytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        device = make_current(self._index)
        with self._explained(nbytes, "GPU memory"):
            buffer = device.allocate(nbytes, stream=self._stream)
        return DeviceArray(int(buffer.handle), tuple(shape), np.dtype(dtype), buffer)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate pinned host memory, for copies during which the host does not wait."""
        nbytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        make_current(self._index)
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
        self.use()
        if nbytes:
            check(self._driver.cuMemcpyAsync(target, source, nbytes, self._handle))

    def zero(self, array: DeviceArray) -> None:
        """Enqueue filling an array with zeros."""
        self.use()
        check(self._driver.cuMemsetD8Async(array.address, 0, array.nbytes, self._handle))

    def launch(self, config: Any, kernel: Any, *arguments: Any) -> None:
        """Enqueue a kernel. arguments: addresses as int, numbers as NumPy scalars, in the kernel's order."""
        from cuda.core import launch

        self.use()
        launch(self._stream, config, kernel, *arguments)

    def record(self) -> CudaEvent:
        """Record an event after all work enqueued so far."""
        self.use()
        return CudaEvent(self, self._stream.record())

    def record_time(self) -> CudaEvent:
        """Record an event that also keeps its time, for `CudaEvent.seconds_since`."""
        from cuda.core import EventOptions

        self.use()
        return CudaEvent(self, self._stream.record(options=EventOptions(timing_enabled=True)))

    def capture(self, enqueue: Enqueue) -> Enqueue:
        """Capture the work of `enqueue` as one CUDA graph; returns the call that launches the graph.

        Capturing runs nothing; every launch uses the captured addresses. Raises CaptureError.
        """
        driver = self._driver
        self.use()
        # An engine that allocates or copies outside of the stream fails: that would be missing in the graph.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        stream = self._handle
        with _garbage_collection_paused():
            check(driver.cuStreamBeginCapture(stream, mode), CaptureError)
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
            check((status,), CaptureError)
            executable = check(driver.cuGraphInstantiate(graph, 0), CaptureError)
        finally:
            if status == driver.CUresult.CUDA_SUCCESS:
                driver.cuGraphDestroy(graph)

        # The graph runs what an execution context owns; the default argument keeps the context alive, with `enqueue`.
        def launch(_keep_alive: Enqueue = enqueue) -> None:
            self.use()
            check(driver.cuGraphLaunch(executable, stream))

        weakref.finalize(launch, driver.cuGraphExecDestroy, executable)
        return launch


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
    stream: CudaStream
    event: Any

    def wait(self) -> None:
        """Block until all work enqueued before the event is done."""
        self.stream.use()
        self.event.sync()

    def seconds_since(self, earlier: CudaEvent) -> float:
        """Return the GPU's seconds between two events of `record_time`; waits for this one."""
        self.wait()
        return float(self.event - earlier.event) / 1e3


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
