"""A device that is as lazy as the rules allow: nothing is done before somebody waits for it, and no more than that.

What reads a result too early, or changes memory that a copy still has to read, gets a wrong result every time, where
a GPU would give one now and then. It runs the graphs on ONNX Runtime's CPU provider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tacoglow.runtime.backends.base import Backend, BackendOptions, GraphRunner
from tacoglow.runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeGraph
from tacoglow.runtime.device.queue import CaptureError, DeviceArray, Enqueue, Queue
from tacoglow.runtime.device.runner import DeviceGraphRunner
from tacoglow.runtime.manifest import GraphSpec, Manifest, load_manifest

Work = Callable[[], None]


class DeferredQueue(Queue):
    def __init__(self, refuses_capture: bool = False) -> None:
        self.refuses_capture = refuses_capture
        self.captures = self.launches = 0
        self._pending: list[Work] = []
        self._done = 0
        self._pinned: list[NDArray[Any]] = []
        self._captured: list[Work] | None = None

    def enqueue(self, work: Work) -> None:
        (self._pending if self._captured is None else self._captured).append(work)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        memory = np.full(math.prod(shape) * np.dtype(dtype).itemsize, 0xFF, np.uint8)  # NaN, where it holds floats
        return DeviceArray(memory.ctypes.data, tuple(shape), np.dtype(dtype), memory)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        self._pinned.append(np.full(math.prod(shape) * np.dtype(dtype).itemsize, 0xFF, np.uint8))
        return self._pinned[-1].view(dtype).reshape(shape)

    def upload(self, target: DeviceArray, source: NDArray[Any]) -> None:
        assert target.shape == source.shape
        assert target.dtype == source.dtype
        if not any(np.shares_memory(source, pinned) for pinned in self._pinned):
            source = source.copy()
        self.enqueue(lambda: np.copyto(host_view(target), source))

    def download(self, target: NDArray[Any], source: DeviceArray) -> None:
        assert target.nbytes == source.nbytes
        assert target.flags.c_contiguous
        self.enqueue(lambda: np.copyto(target, host_view(source).reshape(target.shape)))

    def zero(self, array: DeviceArray) -> None:
        self.enqueue(lambda: host_view(array).fill(0))

    def record(self) -> DeferredEvent:
        return DeferredEvent(self, self._done + len(self._pending))

    def capture(self, enqueue: Enqueue) -> Enqueue:
        if self.refuses_capture:
            raise CaptureError("this device captures nothing")
        self.captures += 1
        graph = self._captured = []
        enqueue()
        self._captured = None

        def launch() -> None:
            self.launches += 1
            self._pending.extend(graph)

        return launch

    def run_up_to(self, position: int) -> None:
        while self._done < position:
            self._pending.pop(0)()
            self._done += 1


@dataclass(frozen=True)
class DeferredEvent:
    queue: DeferredQueue
    position: int

    def wait(self) -> None:
        self.queue.run_up_to(self.position)


def host_view(array: DeviceArray) -> NDArray[Any]:
    interface = {"version": 3, "shape": array.shape, "typestr": array.dtype.str, "data": (array.address, False)}
    return np.asarray(type("View", (), {"__array_interface__": interface, "owner": array.owner})())


class DeferredGraph(DeviceGraphRunner):
    contexts = 0

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, queue: DeferredQueue, host: GraphRunner) -> None:
        super().__init__(name, spec, manifest, queue)
        self._host = host

    def new_context(self) -> DeferredContext:
        self.contexts += 1
        assert isinstance(self.queue, DeferredQueue)
        return DeferredContext(self.queue, self._host)


@dataclass(frozen=True)
class DeferredContext:
    queue: DeferredQueue
    host: GraphRunner

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        call = self.host.bind({name: host_view(buffer) for name, buffer in buffers.items()})
        return lambda: self.queue.enqueue(call)


class DeferredBackend(Backend):
    name = "deferred"
    leaves_host_free = True
    device = "nothing"

    def __init__(self, bundle: Path, queue: DeferredQueue) -> None:
        super().__init__(bundle, load_manifest(bundle), BackendOptions())
        self.queue = queue
        self._host = OnnxRuntimeBackend(bundle, self.manifest, BackendOptions(threads=1))

    @staticmethod
    def missing() -> str | None:
        return None

    def _open(self, graph: str) -> GraphRunner:
        host = self._host.open(graph)
        assert isinstance(host, OnnxRuntimeGraph)
        return DeferredGraph(graph, host.spec, self.manifest, self.queue, host)
