"""Simulates cuda.core on a GPU that runs work as late as CUDA's rules allow: only when it is waited for.

Reading a result too early, changing memory that a copy has not read yet, using freed memory, or a call from a thread
without a current GPU fails every time here, while a real GPU fails occasionally. GPU memory is host memory, so that
ONNX Runtime's CPU provider can compute in it.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.runtime.backends.cuda.stream import ALIGNMENT

Work = Callable[[], None]


# Of a kernel's arguments: addresses as int, numbers as NumPy scalars.
C_TYPES: dict[type, Any] = {
    int: ctypes.c_void_p,
    np.int32: ctypes.c_int,
    np.uint64: ctypes.c_ulonglong,
    np.float32: ctypes.c_float,
}


class CUDAError(Exception):
    pass


class SimulatedCuda:
    """One GPU, and the module through which it is used. rejects_capture: enqueuing work invalidates a capture."""

    def __init__(self) -> None:
        self.rejects_capture = False
        self.captures = 0
        self._streams: dict[int, Stream] = {}  # by handle
        self._thread = threading.local()
        self._memory: dict[int, NDArray[np.uint8]] = {}  # address -> bytes

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        core: Any = ModuleType("cuda.core")
        core.Device, core.Buffer = self.device, SimpleNamespace(from_handle=lambda *range_: Buffer(self, *range_))
        core.EventOptions = SimpleNamespace
        core.LegacyPinnedMemoryResource = lambda: SimpleNamespace(allocate=lambda nbytes: self.new(nbytes))
        bindings: Any = ModuleType("cuda.bindings")
        bindings.driver = SimulatedDriver(self)
        for name, module in (("cuda", ModuleType("cuda")), ("cuda.core", core), ("cuda.bindings", bindings)):
            monkeypatch.setitem(sys.modules, name, module)

    def device(self, index: int) -> Device:
        """The GPU as an object of the calling thread."""
        if index != 0:
            raise ValueError(f"device_id must be within [0, 1), got {index}")
        if not hasattr(self._thread, "device"):
            self._thread.device = Device(self, self._thread)
        device: Device = self._thread.device
        return device

    def new_stream(self) -> Stream:
        stream = Stream(self, 0xC0DA + len(self._streams))
        self._streams[stream.handle] = stream
        return stream

    def stream(self, handle: int) -> Stream:
        return self._streams[handle]

    def check_current(self) -> None:
        if not getattr(self._thread, "is_current", False):
            raise CUDAError("CUDA_ERROR_INVALID_CONTEXT: this thread has no current GPU")

    def new(self, nbytes: int, stream: Stream | None = None) -> Buffer:
        """Allocate GPU memory, which is freed in stream order, or pinned memory if stream is None."""
        self.check_current()
        block = np.full(nbytes + ALIGNMENT, 0xFF, np.uint8)  # NaN, if read as floats
        start = -block.ctypes.data % ALIGNMENT
        block = block[start : start + nbytes]
        self._memory[block.ctypes.data] = block
        buffer = Buffer(self, block.ctypes.data, nbytes)

        def free(address: int = block.ctypes.data) -> None:
            del self._memory[address]

        on_delete = free if stream is None else partial(stream.enqueue, free)
        weakref.finalize(buffer, on_delete).atexit = False
        return buffer

    def bytes_at(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Bytes of GPU or pinned memory. Raises CUDAError if they are not allocated, or were freed."""
        start, block = self._block_at(address) or (address, np.zeros(0, np.uint8))
        found = block[address - start : address - start + nbytes]
        if len(found) != nbytes:
            raise CUDAError(f"CUDA_ERROR_ILLEGAL_ADDRESS: {nbytes} bytes at {address:#x}")
        return found

    def is_known(self, address: int) -> bool:
        return self._block_at(address) is not None

    def _block_at(self, address: int) -> tuple[int, NDArray[np.uint8]] | None:
        for start in list(self._memory):  # a copy: garbage collection frees blocks at any time
            block = self._memory.get(start)
            if block is not None and start <= address < start + len(block):
                return start, block
        return None


class Device:
    def __init__(self, cuda: SimulatedCuda, thread: threading.local) -> None:
        self._cuda, self._owner = cuda, threading.get_ident()
        self._thread = thread
        self.name, self.compute_capability = "Simulated GPU", SimpleNamespace(major=9, minor=0)

    def set_current(self) -> None:
        assert threading.get_ident() == self._owner, "a Device belongs to one thread"
        self._thread.is_current = True

    def allocate(self, nbytes: int, *, stream: Stream) -> Buffer:
        return self._cuda.new(nbytes, stream)

    def create_stream(self) -> Stream:
        self._cuda.check_current()
        return self._cuda.new_stream()


class Buffer:
    def __init__(self, cuda: SimulatedCuda, handle: int, nbytes: int) -> None:
        self._cuda, self.handle, self.size = cuda, handle, nbytes

    def copy_from(self, source: Buffer, *, stream: Stream) -> None:
        assert source.size == self.size
        read = self._reader(source)
        write = self._writer()
        stream.enqueue(lambda: np.copyto(write(), read()))

    def fill(self, value: int, *, stream: Stream) -> None:
        write = self._writer()
        stream.enqueue(lambda: write().fill(value))

    def _reader(self, source: Buffer) -> Callable[[], NDArray[np.uint8]]:
        if not self._cuda.is_known(source.handle):  # pageable memory is read before the call returns
            copy = _host_bytes(source.handle, source.size).copy()
            return lambda: copy
        return lambda: self._cuda.bytes_at(source.handle, source.size)

    def _writer(self) -> Callable[[], NDArray[np.uint8]]:
        if not self._cuda.is_known(self.handle):
            host = _host_bytes(self.handle, self.size)
            return lambda: host
        return lambda: self._cuda.bytes_at(self.handle, self.size)


def _host_bytes(address: int, nbytes: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


class Stream:
    def __init__(self, cuda: SimulatedCuda, handle: int) -> None:
        self.cuda, self.handle = cuda, handle
        self._pending: list[Work] = []
        self._done = 0
        self.captured: list[Work] | None = None
        self.is_invalid = False

    def enqueue(self, work: Work) -> None:
        self.cuda.check_current()
        if self.captured is None:
            self._pending.append(work)
            return
        assert not gc.isenabled(), "a buffer that is collected during a capture would end the capture"
        self.is_invalid = self.is_invalid or self.cuda.rejects_capture
        if self.is_invalid:
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: this GPU cannot capture")
        self.captured.append(work)

    def record(self, options: object = None) -> Event:
        self.cuda.check_current()
        return Event(self, self._done + len(self._pending))

    def run_up_to(self, position: int) -> None:
        self.cuda.check_current()
        while self._done < position:
            self._pending.pop(0)()
            self._done += 1


class Event:
    def __init__(self, stream: Stream, position: int) -> None:
        self._stream, self._position = stream, position

    def sync(self) -> None:
        self._stream.run_up_to(self._position)

    def __sub__(self, earlier: Event) -> float:
        """Milliseconds: one per piece of work."""
        return float(self._position - earlier._position)


class SimulatedDriver:
    """The driver's calls for CUDA graphs, as cuda.bindings.driver has them: each returns its status first.

    Destroying what an invalidated capture returns crashes the process on some drivers, so that it is an error here.
    """

    CUresult = SimpleNamespace(CUDA_SUCCESS=SimpleNamespace(name="CUDA_SUCCESS"))
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)
    INVALIDATED = SimpleNamespace(name="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

    def __init__(self, cuda: SimulatedCuda) -> None:
        self._cuda = cuda

    def CUstream(self, handle: int) -> Stream:  # noqa: N802
        return self._cuda.stream(handle)

    def cuMemGetInfo(self) -> tuple[Any, int, int]:  # noqa: N802
        return self.CUresult.CUDA_SUCCESS, 3 << 30, 4 << 30

    def cuGetErrorString(self, status: Any) -> tuple[Any, bytes]:  # noqa: N802
        return self.CUresult.CUDA_SUCCESS, b"operation failed due to a previous error during capture"

    def cuStreamBeginCapture(self, stream: Stream, mode: int) -> tuple[Any]:  # noqa: N802
        self._cuda.check_current()
        assert mode == self.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        assert stream.captured is None
        stream.captured = []
        return (self.CUresult.CUDA_SUCCESS,)

    def cuStreamEndCapture(self, stream: Stream) -> tuple[Any, list[Work] | None]:  # noqa: N802
        work, was_invalid = stream.captured, stream.is_invalid
        stream.captured, stream.is_invalid = None, False
        return (self.INVALIDATED, None) if was_invalid else (self.CUresult.CUDA_SUCCESS, work)

    def cuGraphInstantiate(self, graph: list[Work], flags: int) -> tuple[Any, list[Work]]:  # noqa: N802
        self._cuda.captures += 1
        return self.CUresult.CUDA_SUCCESS, list(graph)

    def cuGraphDestroy(self, graph: list[Work] | None) -> tuple[Any]:  # noqa: N802
        assert graph is not None, "the graph of an invalidated capture must not be destroyed"
        return (self.CUresult.CUDA_SUCCESS,)

    def cuGraphExecDestroy(self, executable: list[Work]) -> tuple[Any]:  # noqa: N802
        return (self.CUresult.CUDA_SUCCESS,)

    def cuGraphLaunch(self, executable: list[Work], stream: Stream) -> tuple[Any]:  # noqa: N802
        self._cuda.check_current()
        for work in executable:
            stream.enqueue(work)
        return (self.CUresult.CUDA_SUCCESS,)
