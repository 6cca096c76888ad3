"""Runs graphs on a GPU with NumPy inputs and outputs; decoder_step by what the backend has chosen to run its steps.

A graph runs as a CUDA graph at the shapes that `prepare` captured when the voice was opened, because capturing inside a
request would delay it by tens of milliseconds; at other shapes its work is enqueued.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...bundle.manifest import GraphSpec, Manifest, match_shape
from ...decoder import DecoderSteps, EncoderOutput, Profile, RowSteps
from ...noise import Noise
from ..base import Array, Call, GraphRunner
from .noise import DeviceNoise
from .stream import CaptureError, CudaStream, DeviceArray, Enqueue

MAX_CACHED_SHAPES = 8  # LRU, per graph, of those that are not captured


class CaptureWarning(UserWarning):
    """A graph cannot be captured as a CUDA graph, so each run enqueues its work again: slower, same result."""


Shapes = Mapping[str, tuple[int, ...]]  # of a graph's inputs and outputs
Key = tuple[tuple[int, ...], ...]  # shapes of the inputs
Fill = Callable[[Mapping[str, DeviceArray]], None]  # enqueues what writes the inputs
NewSteps = Callable[[EncoderOutput, Sequence[Noise], float], DecoderSteps]  # as GraphRunner.decoder_steps
NewRows = Callable[[int, Profile], RowSteps]  # as GraphRunner.row_steps


class ExecutionContext(Protocol):
    """Runs an engine at one shape at a time; a CUDA graph captured from it is valid only until its shape changes."""

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        """Return the call that enqueues the graph over these buffers, one for every input and output."""

    def is_capturable(self) -> bool:
        """False if its work at the shapes of the last run is known not to be capturable."""


@dataclass(frozen=True)
class _Launch:
    """A graph bound to GPU buffers of one shape."""

    buffers: Mapping[str, DeviceArray]
    enqueue: Enqueue


class CudaGraphRunner(GraphRunner):
    """One graph on a GPU, with its CUDA graphs and cached buffers."""

    capturable = True  # False if the graph is never captured as a CUDA graph

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, stream: CudaStream) -> None:
        super().__init__(name, spec, manifest)
        self.stream = stream
        self._context: ExecutionContext | None = None  # shared by all work that is not captured
        self.has_failed_capture = False  # of which a warning has told
        self._captured: dict[Key, _Launch] = {}
        self._enqueued: OrderedDict[Key, _Launch] = OrderedDict()
        self.new_steps: NewSteps | None = None  # of decoder_step: what runs its steps
        self.new_rows: NewRows | None = None  # the same, for rows that come and go
        self.noise: DeviceNoise | None = None  # what draws dropout and z on this GPU; None: the host does

    @abstractmethod
    def new_context(self) -> ExecutionContext: ...

    def prepare(self, **inputs: Array) -> None:
        """Capture a run at the shapes of these inputs, with which it is run first."""
        dims: dict[str, int] = {}
        for tensor in self.spec.inputs:
            match_shape(tensor, inputs[tensor.name].shape, dims)
        shapes = {name: tensor.resolve(dims) for name, tensor in self.spec.tensors.items()}
        buffers, context = self._allocate(shapes), self.new_context()
        for name, array in inputs.items():
            self.stream.upload(buffers[name], array)
        enqueue = context.bind(buffers)
        self._captured[self._key(shapes)] = _Launch(buffers, self.capture(context, enqueue, warm_up=enqueue))

    def decoder_steps(
        self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = math.inf
    ) -> DecoderSteps:
        assert self.new_steps is not None
        return self.new_steps(encoded, noises, gate_logit)

    def row_steps(self, max_rows: int, profile: Profile) -> RowSteps:
        assert self.new_rows is not None
        return self.new_rows(max_rows, profile)

    def capture(self, context: ExecutionContext, enqueue: Enqueue, warm_up: Enqueue) -> Enqueue:
        """Capture `enqueue`, which runs the context, as one CUDA graph; if that fails, return it, and warn once.

        warm_up is called first: an engine's first run at a shape does preparations that cannot be captured.
        """
        if not self.capturable:
            return enqueue
        warm_up()
        try:
            if not context.is_capturable():
                raise CaptureError("the engine reports that it is not capturable at these shapes")
            return self.stream.capture(enqueue)
        except CaptureError as error:
            if not self.has_failed_capture:
                warnings.warn(
                    f"{self.name}: cannot be captured as a CUDA graph: {error}; running without one "
                    "(slower, same result)",
                    CaptureWarning,
                    stacklevel=2,
                )
            self.has_failed_capture = True
            return enqueue

    @property
    def draws_noise(self) -> bool:  # type: ignore[override]
        return self.noise is not None

    def vocode(self, mel: Array, noise: Noise, first_group: int, sigma: float) -> Array:
        if self.noise is None:
            return super().vocode(mel, noise, first_group, sigma)
        drawer, dims = self.noise, dict[str, int]()
        match_shape(self.spec.tensors["mel"], mel.shape, dims)
        shapes = {name: tensor.resolve(dims) for name, tensor in self.spec.tensors.items()}
        audio = np.empty(shapes["audio"], np.float32)
        self._check({"mel": mel, "audio": audio}, made=("z",))

        def fill(buffers: Mapping[str, DeviceArray]) -> None:
            self.stream.upload(buffers["mel"], mel)
            drawer.draw_z(buffers["z"], noise, first_group, sigma)

        self._run_once(shapes, fill, {"audio": audio})
        return audio

    def _bind(self, buffers: Mapping[str, Array]) -> Call:
        shapes = {name: array.shape for name, array in buffers.items()}
        outputs = {tensor.name: buffers[tensor.name] for tensor in self.spec.outputs}

        def fill(copies: Mapping[str, DeviceArray]) -> None:
            for tensor in self.spec.inputs:
                self.stream.upload(copies[tensor.name], buffers[tensor.name])

        return lambda: self._run_once(shapes, fill, outputs)

    def _run_once(self, shapes: Shapes, fill: Fill, outputs: Mapping[str, Array]) -> None:
        """Fill the inputs, run, and wait for the outputs."""
        launch = self._launch_for(shapes)
        fill(launch.buffers)
        launch.enqueue()
        for name, array in outputs.items():
            self.stream.download(array, launch.buffers[name])
        self.stream.record().wait()

    def _launch_for(self, shapes: Shapes) -> _Launch:
        """Return the captured launch for these shapes, or one that enqueues the work in a context shared by all."""
        key = self._key(shapes)
        if key in self._captured:
            return self._captured[key]
        if key not in self._enqueued:
            buffers = self._allocate(shapes)
            self._context = self._context or self.new_context()
            self._enqueued[key] = _Launch(buffers, self._context.bind(buffers))
            if len(self._enqueued) > MAX_CACHED_SHAPES:
                self._enqueued.popitem(last=False)
        self._enqueued.move_to_end(key)
        return self._enqueued[key]

    def _key(self, shapes: Shapes) -> Key:
        return tuple(shapes[tensor.name] for tensor in self.spec.inputs)

    def _allocate(self, shapes: Shapes) -> dict[str, DeviceArray]:
        tensors = self.spec.tensors
        return {name: self.stream.empty(shape, tensors[name].dtype) for name, shape in shapes.items()}
