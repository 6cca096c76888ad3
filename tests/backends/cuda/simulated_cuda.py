"""Simulates cuda.core on a GPU that runs work as late as CUDA's rules allow: only when it is waited for.

Reading a result too early, changing memory that a copy has not read yet, using freed memory, or a call from a thread
without a current GPU fails every time here, while a real GPU fails occasionally. GPU memory is host memory, so that
ONNX Runtime's CPU provider can compute in it.
"""

from __future__ import annotations

import ctypes
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


class CUDAError(Exception):
    pass


class SimulatedCuda:
    """One GPU, and the module through which it is used. rejects_capture: enqueuing work invalidates a capture."""

    def __init__(self) -> None:
        self.rejects_capture = False
        self.captures = 0
        self.stream: Stream | None = None  # the most recently created stream
        self._thread = threading.local()
        self._memory: dict[int, NDArray[np.uint8]] = {}  # address -> bytes

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        core: Any = ModuleType("cuda.core")
        core.Device, core.Buffer = self.device, SimpleNamespace(from_handle=lambda *range_: Buffer(self, *range_))
        core.LegacyPinnedMemoryResource = lambda: SimpleNamespace(allocate=lambda nbytes: self.new(nbytes))
        monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
        monkeypatch.setitem(sys.modules, "cuda.core", core)

    def device(self, index: int) -> Device:
        """The GPU as an object of the calling thread."""
        if index != 0:
            raise ValueError(f"device_id must be within [0, 1), got {index}")
        if not hasattr(self._thread, "device"):
            self._thread.device = Device(self, self._thread)
        device: Device = self._thread.device
        return device

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
        blocks = self._memory.items()
        return next(((start, block) for start, block in blocks if start <= address < start + len(block)), None)


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
        self._cuda.stream = Stream(self._cuda)
        return self._cuda.stream


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
    handle = 0xC0DA

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self._pending: list[Work] = []
        self._done = 0
        self.captured: list[Work] | None = None
        self.is_invalid = False

    def enqueue(self, work: Work) -> None:
        self.cuda.check_current()
        if self.captured is None:
            self._pending.append(work)
            return
        self.is_invalid = self.is_invalid or self.cuda.rejects_capture
        if self.is_invalid:
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: this GPU cannot capture")
        self.captured.append(work)

    def record(self) -> SimpleNamespace:
        self.cuda.check_current()
        position = self._done + len(self._pending)
        return SimpleNamespace(sync=lambda: self._run_up_to(position))

    def _run_up_to(self, position: int) -> None:
        self.cuda.check_current()
        while self._done < position:
            self._pending.pop(0)()
            self._done += 1

    def create_graph_builder(self) -> GraphBuilder:
        return GraphBuilder(self)


class GraphBuilder:
    """Captures a stream's work. Ending an invalid capture raises an error, and closing it raises another one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._graph: list[Work] = []

    def begin_building(self) -> GraphBuilder:
        assert self._stream.captured is None
        self._stream.captured = self._graph
        return self

    def end_building(self) -> GraphBuilder:
        if self._stream.is_invalid:
            raise RuntimeError("Build process encountered an error and has been invalidated")
        self._stream.captured = None
        return self

    def complete(self) -> Graph:
        self._stream.cuda.captures += 1
        return Graph(self._graph)

    def close(self) -> None:
        was_invalid, self._stream.is_invalid, self._stream.captured = self._stream.is_invalid, False, None
        if was_invalid:
            raise CUDAError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")


class Graph:
    def __init__(self, work: list[Work]) -> None:
        self._work = work

    def launch(self, stream: Stream) -> None:
        for work in self._work:
            stream.enqueue(work)
