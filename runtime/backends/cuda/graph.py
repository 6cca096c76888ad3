"""Runs graphs on a GPU: with NumPy inputs and outputs, or, for decoder_step, in chunks of steps.

A graph with NumPy inputs runs as a CUDA graph at the shapes that `prepare` captured when the voice was opened, because
capturing inside a request would delay it by tens of milliseconds; at other shapes its work is enqueued. For decoder
steps, each chunk is one CUDA graph, and the host reads its gates one chunk late: the next chunk is launched before a
chunk is read, so the GPU never waits for the host. Late reading only costs some surplus steps, whose frames are
dropped.
"""

from __future__ import annotations

import math
import warnings
import weakref
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...bundle.manifest import GraphSpec, Manifest, match_shape
from ...decoder import Chunk, DecoderSteps, EncoderOutput, RowSteps, draw_dropout
from ...noise import Noise
from ..base import Array, Call, GraphRunner
from .noise import DeviceNoise
from .stream import Block, CaptureError, CudaEvent, CudaStream, DeviceArray, Enqueue, Slots

MAX_CACHED_SHAPES = 8  # LRU, per graph, of those that are not captured
MAX_CACHED_CHUNKS = 8  # LRU, idle chunk buffers by (batch, token bucket)
CHUNK_STEPS = 16  # even, so that every chunk starts from the same state slots; at 50 us per step, 0.8 ms per chunk
RESULTS = ("mel_frame", "gate_logit", "attention_weights_out")  # outputs that are copied to the host for every step


class CaptureWarning(UserWarning):
    """A graph cannot be captured as a CUDA graph, so each run enqueues its work again: slower, same result."""


Shapes = Mapping[str, tuple[int, ...]]  # of a graph's inputs and outputs
Key = tuple[tuple[int, ...], ...]  # shapes of the inputs
Fill = Callable[[Mapping[str, DeviceArray]], None]  # enqueues what writes the inputs
NewSteps = Callable[[EncoderOutput, Sequence[Noise], float], DecoderSteps]  # as GraphRunner.decoder_steps


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
    """One graph on a GPU, with its cached CUDA graphs and chunk buffers."""

    capturable = True  # False if the graph is never captured as a CUDA graph

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, stream: CudaStream) -> None:
        super().__init__(name, spec, manifest)
        self.stream = stream
        self._context: ExecutionContext | None = None  # shared by all work that is not captured
        self.has_failed_capture = False  # of which a warning has told
        self._captured: dict[Key, _Launch] = {}
        self._enqueued: OrderedDict[Key, _Launch] = OrderedDict()
        self._idle_chunks: OrderedDict[tuple[int, int], list[ChunkBuffers]] = OrderedDict()
        self.fused_steps: NewSteps | None = None  # the fused decoder's, if that runs the steps
        self.fused_rows: Callable[[int], RowSteps] | None = None  # the same, for rows that come and go
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

    def prepare_steps(self, tokens: int) -> None:
        """Capture the decoder steps of one item of this token bucket, unless the fused decoder runs them."""
        if self.fused_steps is None and self.capturable:
            self._put_back((1, tokens), ChunkBuffers(self, 1, tokens))

    def decoder_steps(
        self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = math.inf
    ) -> DecoderSteps:
        """Reuse idle buffers, with their CUDA graph, of an earlier batch of the same size and token bucket, if any."""
        if self.fused_steps is not None:
            return self.fused_steps(encoded, noises, gate_logit)
        batch, tokens, _ = encoded.memory.shape
        idle = self._idle_chunks.get((batch, tokens))
        buffers = idle.pop() if idle else ChunkBuffers(self, batch, tokens)
        buffers.reset(encoded, noises)
        steps = CudaSteps(buffers)
        weakref.finalize(steps, self._put_back, (batch, tokens), buffers)
        return steps

    def row_steps(self, max_rows: int) -> RowSteps | None:
        return None if self.fused_rows is None else self.fused_rows(max_rows)

    def _put_back(self, key: tuple[int, int], buffers: ChunkBuffers) -> None:
        self._idle_chunks.setdefault(key, []).append(buffers)
        self._idle_chunks.move_to_end(key)
        while sum(map(len, self._idle_chunks.values())) > MAX_CACHED_CHUNKS:
            oldest, idle = next(iter(self._idle_chunks.items()))
            del idle[:1]  # idle is empty if all buffers of this key are in use
            if not idle:
                del self._idle_chunks[oldest]

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


class CudaSteps(DecoderSteps):
    """Steps on a GPU, over two sets of pinned host memory, by parity of the chunk."""

    chunk_steps = CHUNK_STEPS
    launches_in_flight = 2

    def __init__(self, buffers: ChunkBuffers) -> None:
        self._buffers = buffers
        self._launched: list[tuple[int, CudaEvent]] = []  # parity of each unread chunk, and the event after it

    def launch(self, first_step: int) -> None:
        parity = first_step // CHUNK_STEPS % 2
        self._launched.append((parity, self._buffers.launch(first_step, parity)))

    def read(self) -> Chunk:
        parity, done = self._launched.pop(0)
        done.wait()
        return self._buffers.results(parity)


class ChunkBuffers:
    """The memory for chunks of one batch size and token bucket, and the call that runs a chunk in it.

    Every step has its own slots for dropout, mel, gate and attention. Host memory exists twice, by parity of the chunk:
    the host reads or fills one set while the GPU uses the other.
    """

    def __init__(self, step: CudaGraphRunner, batch: int, tokens: int) -> None:
        stream = self._stream = step.stream
        tensors, states = step.spec.tensors, step.manifest.decoder.states
        shapes = {name: tensor.resolve({"B": batch, "T": tokens}) for name, tensor in tensors.items()}

        def slots(name: str, n: int = CHUNK_STEPS) -> Slots:
            return Slots(stream, n, shapes[name], tensors[name].dtype)

        # Step i reads slot i - 1 and writes slot i; states that only feed the next step need two slots.
        results = Block(stream, CHUNK_STEPS, [shapes[name] for name in RESULTS], np.float32)
        copied = dict(zip(RESULTS, results.slots, strict=True))
        self._states = {output: copied.get(output) or slots(output, 2) for output in states.values()}
        self._dropout, self._gates = slots("prenet_dropout"), copied["gate_logit"]
        self._encoded = {
            name: stream.empty(shapes[name], tensors[name].dtype) for name in EncoderOutput.__dataclass_fields__
        }
        self._host = [_HostBuffers(self._dropout, results) for _ in range(2)]
        self._noise, self._noises = step.noise, list[Noise]()
        self._keys = stream.empty((batch, 2), np.uint64)  # of the noises
        context = step.new_context()
        calls = []
        for i in range(CHUNK_STEPS):
            read = {name: self._states[output][i - 1] for name, output in states.items()}
            written = {output: ring[i] for output, ring in self._states.items()}
            own = {"prenet_dropout": self._dropout[i], "gate_logit": self._gates[i]}
            calls.append(context.bind({**self._encoded, **own, **read, **written}))

        def chunk() -> None:
            for call in calls:
                call()

        self._run = step.capture(context, chunk, warm_up=calls[0])

    def reset(self, encoded: EncoderOutput, noises: Sequence[Noise]) -> None:
        """Prepare a batch's first step: zero the states, upload the encoder output."""
        self._noises = list(noises)
        self._stream.upload(self._keys, np.array([noise.key for noise in noises], np.uint64))
        for ring in self._states.values():
            self._stream.zero(ring.memory)
        for name, array in vars(encoded).items():
            self._stream.upload(self._encoded[name], array)

    def results(self, parity: int) -> Chunk:
        """Return the host's memory for a chunk's results, valid once the event of its launch has been waited for."""
        return self._host[parity].chunk

    def launch(self, first_step: int, parity: int) -> CudaEvent:
        """Enqueue a chunk and the copies of its results to pinned memory."""
        host = self._host[parity]
        if self._noise is None:
            draw_dropout(host.dropout, first_step, self._noises)
            self._stream.upload(self._dropout.memory, host.dropout_block)
        else:
            self._noise.draw_dropout(self._dropout, self._keys, first_step)
        self._run()
        host.download()
        return self._stream.record()


class _HostBuffers:
    """A chunk's dropout and results in pinned host memory: what copies them, and views of their arrays."""

    def __init__(self, dropout: Slots, results: Block) -> None:
        self.dropout_block, self.dropout = dropout.pinned()
        self.download, (mel, gate_logits, attention_weights) = results.pinned()
        self.chunk = Chunk(mel, gate_logits[..., 0], attention_weights)
