"""A graph on a device: NumPy arrays in and out, captured as one launch where its shapes come again."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..backends.base import Array, Call, GraphRunner
from ..manifest import GraphSpec, Manifest
from .queue import CaptureError, DeviceArray, Enqueue, Queue

SHAPES_KEPT = 8  # of a graph: the shapes that are remembered, captured from their second time on


class CaptureWarning(UserWarning):
    """A graph's work is enqueued piece by piece, since it cannot be captured: slower, the same result."""


class Context(Protocol):
    """An engine's state for runs of one shape at a time. What it captured holds as long as its shape is kept."""

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        """The call that enqueues the graph over these buffers, one for every input and output."""


@dataclass(frozen=True)
class _Launch:
    buffers: Mapping[str, DeviceArray]
    enqueue: Enqueue


class DeviceGraphRunner(GraphRunner):
    capturable = True

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, queue: Queue) -> None:
        super().__init__(name, spec, manifest)
        self.queue = queue
        self._context: Context | None = None  # for shapes that have not come again
        self._launches: OrderedDict[tuple[tuple[int, ...], ...], _Launch | None] = OrderedDict()

    @abstractmethod
    def new_context(self) -> Context: ...

    def captured(self, enqueue: Enqueue, warm_up: Enqueue) -> Enqueue:
        """`enqueue` as one graph where that can be, else itself, with a warning once.

        warm_up is enqueued before: an engine prepares itself for a shape the first time, which cannot be captured.
        """
        if not self.capturable:
            return enqueue
        warm_up()
        try:
            return self.queue.capture(enqueue)
        except CaptureError as error:
            self.capturable = False
            warnings.warn(
                f"{self.name}: cannot be captured as a CUDA graph, so each run is enqueued anew: {error}",
                CaptureWarning,
                stacklevel=2,
            )
            return enqueue

    def _bind(self, buffers: Mapping[str, Array]) -> Call:
        def call() -> None:
            launch = self._launch(buffers)
            for tensor in self.spec.inputs:
                self.queue.upload(launch.buffers[tensor.name], buffers[tensor.name])
            launch.enqueue()
            for tensor in self.spec.outputs:
                self.queue.download(buffers[tensor.name], launch.buffers[tensor.name])
            self.queue.record().wait()

        return call

    def _launch(self, buffers: Mapping[str, Array]) -> _Launch:
        """At a shape's first time its work is enqueued as it is, at its second it is captured, with its own memory."""
        key = tuple(buffers[tensor.name].shape for tensor in self.spec.inputs)
        launch = self._launches.get(key)
        if launch is None:
            seen = key in self._launches
            launch = self._new_launch(buffers, comes_again=seen)
            self._launches[key] = launch if seen else None
            if len(self._launches) > SHAPES_KEPT:
                self._launches.popitem(last=False)
        self._launches.move_to_end(key)
        return launch

    def _new_launch(self, buffers: Mapping[str, Array], comes_again: bool) -> _Launch:
        over = {name: self.queue.empty(array.shape, array.dtype) for name, array in buffers.items()}
        if not (comes_again and self.capturable):
            self._context = self._context or self.new_context()
            return _Launch(over, self._context.bind(over))
        enqueue = self.new_context().bind(over)
        for tensor in self.spec.inputs:
            self.queue.upload(over[tensor.name], buffers[tensor.name])
        return _Launch(over, self.captured(enqueue, warm_up=enqueue))
