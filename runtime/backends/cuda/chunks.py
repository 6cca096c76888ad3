"""Decoder steps of an engine on a GPU: each chunk is one CUDA graph, over memory in which its items have places.

The host reads a chunk's gates one chunk late: the next chunk is launched before a chunk is read, so the GPU never waits
for the host. Late reading only costs some surplus steps, whose frames are dropped.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence

import numpy as np

from ...decoder import Chunk, DecoderSteps, EncoderOutput, draw_dropout
from ...noise import Noise
from .graph import CudaGraphRunner
from .idle import IdleBuffers
from .slots import Block, Slots
from .stream import CudaEvent, DeviceArray, Enqueue

CHUNK_STEPS = 16  # at 50 us per step, 0.8 ms per chunk
RESULTS = ("mel_frame", "gate_logit", "attention_weights_out")  # outputs that are copied to the host for every step


class EngineDecoder:
    """Decodes batches, in buffers that are kept with their CUDA graphs for later batches."""

    def __init__(self, step: CudaGraphRunner) -> None:
        self._step = step
        self._idle = IdleBuffers[ChunkBuffers]()

    def prepare(self, tokens: int) -> None:
        """Capture the steps of one item of this token bucket."""
        self._idle.put_back(ChunkBuffers(self._step, 1, tokens, CHUNK_STEPS))

    def steps(self, encoded: EncoderOutput, noises: Sequence[Noise], gate_logit: float = math.inf) -> DecoderSteps:
        """Reuse idle buffers, with their CUDA graph, of an earlier batch of the same size and token bucket, if any."""
        batch, tokens, _ = encoded.memory.shape
        buffers = self._idle.take(batch, tokens) or ChunkBuffers(self._step, batch, tokens, CHUNK_STEPS)
        buffers.reset(encoded)
        steps = CudaSteps(buffers, noises)
        weakref.finalize(steps, self._idle.put_back, buffers)
        return steps


class CudaSteps(DecoderSteps):
    """Steps on a GPU, over two sets of pinned host memory, by parity of the chunk."""

    chunk_steps = CHUNK_STEPS
    launches_in_flight = 2

    def __init__(self, buffers: ChunkBuffers, noises: Sequence[Noise]) -> None:
        self._buffers, self._noises = buffers, noises
        self._launched: list[tuple[int, CudaEvent]] = []  # parity of each unread chunk, and the event after it

    def launch(self, first_step: int) -> None:
        parity = first_step // CHUNK_STEPS % 2
        items = {i: (noise, first_step) for i, noise in enumerate(self._noises)}
        self._launched.append((parity, self._buffers.launch(items, parity)))

    def read(self) -> Chunk:
        parity, done = self._launched.pop(0)
        done.wait()
        return self._buffers.results(parity)


class ChunkBuffers:
    """The memory for chunks of one batch size and token bucket, and the calls that run a chunk in it.

    Every step has its own slots for dropout, mel, gate and attention. Host memory exists twice, by parity of the chunk:
    the host reads or fills one set while the GPU uses the other.
    """

    def __init__(
        self, step: CudaGraphRunner, batch: int, tokens: int, steps: int, counts: Sequence[int] | None = None
    ) -> None:
        """steps: of a chunk; even, so that every chunk starts from the same state slots.

        counts: numbers of items, the first ones of the batch, that a chunk can consist of, ascending; None: all of it.
        """
        self.batch, self.tokens = batch, tokens
        stream = self._stream = step.stream
        tensors, states = step.spec.tensors, step.manifest.decoder.states
        shapes = {name: tensor.resolve({"B": batch, "T": tokens}) for name, tensor in tensors.items()}

        def slots(name: str, n: int = steps) -> Slots:
            return Slots(stream, n, shapes[name], tensors[name].dtype)

        # Step i reads slot i - 1 and writes slot i; states that only feed the next step need two slots.
        results = Block(stream, steps, [shapes[name] for name in RESULTS], np.float32)
        copied = dict(zip(RESULTS, results.slots, strict=True))
        self._states = {output: copied.get(output) or slots(output, 2) for output in states.values()}
        self._dropout, self._gates = slots("prenet_dropout"), copied["gate_logit"]
        self._encoded = {
            name: stream.empty(shapes[name], tensors[name].dtype) for name in EncoderOutput.__dataclass_fields__
        }
        self._host = [_HostBuffers(self._dropout, results) for _ in range(2)]
        self._noise = step.noise
        self._drawn = stream.empty((batch, 3), np.uint64)  # seed, utterance and first step, for the dropout of each
        self._runs = {count: self._capture(step, count, steps) for count in counts or [batch]}

    def _capture(self, step: CudaGraphRunner, count: int, steps: int) -> Enqueue:
        """Capture a chunk of the first items."""
        context = step.new_context()
        calls = []
        for i in range(steps):
            read = {name: self._states[output][i - 1] for name, output in step.manifest.decoder.states.items()}
            written = {output: ring[i] for output, ring in self._states.items()}
            own = {"prenet_dropout": self._dropout[i], "gate_logit": self._gates[i]}
            arrays = {**self._encoded, **own, **read, **written}
            calls.append(context.bind({name: array.first(count) for name, array in arrays.items()}))

        def chunk() -> None:
            for call in calls:
                call()

        return step.capture(context, chunk, warm_up=calls[0])

    def reset(self, encoded: EncoderOutput) -> None:
        """Prepare a batch's first step: zero the states, upload the encoder output."""
        for ring in self._states.values():
            self._stream.zero(ring.memory)
        for name, array in vars(encoded).items():
            self._stream.upload(self._encoded[name], array)

    def item(self, place: int) -> tuple[dict[str, DeviceArray], dict[str, DeviceArray]]:
        """Return an item's states between two chunks, and its encoder output."""
        states = {output: ring[-1].item(place) for output, ring in self._states.items()}
        return states, {name: array.item(place) for name, array in self._encoded.items()}

    def fitting(self, items: int) -> int:
        """Return how many items a chunk of at least so many has."""
        return next(count for count in self._runs if count >= items)

    def launch(self, items: Mapping[int, tuple[Noise, int]], parity: int) -> CudaEvent:
        """Enqueue a chunk and the copies of its results to pinned memory.

        items: the noise and the first step of each that takes part, by place.
        """
        host = self._host[parity]
        if self._noise is None:
            for place, (noise, first_step) in items.items():
                draw_dropout(host.dropout[:, place : place + 1], first_step, [noise])
            self._stream.upload(self._dropout.memory, host.dropout_block)
        else:
            drawn = np.zeros(self._drawn.shape, np.uint64)
            for place, (noise, first_step) in items.items():
                drawn[place] = np.array([*noise.key, first_step], np.uint64)
            self._stream.upload(self._drawn, drawn)
            self._noise.draw_dropout(self._dropout, self._drawn)
        self._runs[self.fitting(max(items) + 1)]()
        host.download()
        return self._stream.record()

    def results(self, parity: int) -> Chunk:
        """Return the host's memory for a chunk's results, valid once the event of its launch has been waited for."""
        return self._host[parity].chunk


class _HostBuffers:
    """A chunk's dropout and results in pinned host memory: what copies them, and views of their arrays."""

    def __init__(self, dropout: Slots, results: Block) -> None:
        self.dropout_block, self.dropout = dropout.pinned()
        self.download, (mel, gate_logits, attention_weights) = results.pinned()
        self.chunk = Chunk(mel, gate_logits[..., 0], attention_weights)
