"""The decoder loop on a device: a chunk of steps is one launch, and the host looks at the gates one chunk late.

Every step of a chunk has its own slots for dropout, mel, gate and attention, so that a whole chunk can be captured as
one CUDA graph; the step's states ping-pong between two. The chunk after is started before a chunk is collected: the
device never waits for the host. Looking late only means that some steps too many are run; they are dropped.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..manifest import Manifest
from ..noise import Noise
from ..steps import Chunk, EncoderOutput, Steps, draw_dropout
from .queue import Event, Slots
from .runner import DeviceGraphRunner

CHUNK_STEPS = 16  # even, so that the states come round; at 50 us a step the host has 0.8 ms for its part
LOOPS_KEPT = 8  # of different batch sizes and token buckets
KEPT_OUTPUTS = ("mel_frame", "attention_weights_out")  # states whose every value is wanted


class DeviceLoop:
    """Opens the steps of batches over a graph that runs on a device.

    Buffers and graph of a batch size and token bucket are kept for the next batch like it, once nobody uses them.
    """

    def __init__(self, step: DeviceGraphRunner, manifest: Manifest) -> None:
        self.step, self.manifest = step, manifest
        self._idle: OrderedDict[tuple[int, int], list[_ChunkBuffers]] = OrderedDict()

    def open(self, encoded: EncoderOutput, noises: Sequence[Noise]) -> Steps:
        batch, tokens, _ = encoded.memory.shape
        idle = self._idle.get((batch, tokens))
        buffers = idle.pop() if idle else _ChunkBuffers(self.step, self.manifest, batch, tokens)
        buffers.reset(encoded)
        steps = DeviceSteps(buffers, noises)
        weakref.finalize(steps, self._put_back, (batch, tokens), buffers)
        return steps

    def _put_back(self, key: tuple[int, int], buffers: _ChunkBuffers) -> None:
        self._idle.setdefault(key, []).append(buffers)
        self._idle.move_to_end(key)
        while sum(map(len, self._idle.values())) > LOOPS_KEPT:
            oldest = next(iter(self._idle))
            self._idle[oldest].pop(0)
            if not self._idle[oldest]:
                del self._idle[oldest]


class DeviceSteps(Steps):
    chunk_steps = CHUNK_STEPS
    chunks_ahead = 1

    def __init__(self, buffers: _ChunkBuffers, noises: Sequence[Noise]) -> None:
        self._buffers, self._noises = buffers, noises
        self._started: list[tuple[int, Event]] = []  # parity of a chunk, and when it is done

    def start(self, first_step: int) -> None:
        parity = first_step // CHUNK_STEPS % 2
        draw_dropout(self._buffers.drawn(parity), first_step, self._noises)
        self._started.append((parity, self._buffers.launch(parity)))

    def collect(self) -> Chunk:
        parity, done = self._started.pop(0)
        done.wait()
        return self._buffers.landed(parity)


class _ChunkBuffers:
    """Memory of a chunk of one batch size and token bucket, and the call that runs the chunk over it.

    Host memory is there twice, by parity of the chunk: one is read or filled while the device works on the other.
    """

    def __init__(self, step: DeviceGraphRunner, manifest: Manifest, batch: int, tokens: int) -> None:
        queue = self._queue = step.queue
        tensors, states = step.spec.tensors, manifest.decoder.states
        shapes = {name: tensor.resolve({"B": batch, "T": tokens}) for name, tensor in tensors.items()}

        def slots(name: str, n: int = CHUNK_STEPS) -> Slots:
            return Slots(queue, n, shapes[name], tensors[name].dtype)

        # A step reads the slot before its own; the states that are only passed on need two.
        self._rings = {
            output: slots(output) if output in KEPT_OUTPUTS else slots(output, 2) for output in states.values()
        }
        self._dropout, self._gates = slots("prenet_dropout"), slots("gate_logit")
        self._encoded = {
            name: queue.empty(shapes[name], tensors[name].dtype) for name in EncoderOutput.__dataclass_fields__
        }
        self._staged = [_Staged(self._dropout, self._gates, self._rings) for _ in range(2)]
        context = step.new_context()
        calls = []
        for i in range(CHUNK_STEPS):
            read = {name: self._rings[output][i - 1] for name, output in states.items()}
            written = {output: ring[i] for output, ring in self._rings.items()}
            slot = {"prenet_dropout": self._dropout[i], "gate_logit": self._gates[i]}
            calls.append(context.bind({**self._encoded, **slot, **read, **written}))

        def chunk() -> None:
            for call in calls:
                call()

        self._run = step.captured(chunk, warm_up=calls[0])

    def reset(self, encoded: EncoderOutput) -> None:
        """Make ready for a batch's first step: states zero, and what the attention looks at."""
        for ring in self._rings.values():
            self._queue.zero(ring.memory)
        for name, array in vars(encoded).items():
            self._queue.upload(self._encoded[name], array)

    def drawn(self, parity: int) -> NDArray[np.float32]:
        """Where a chunk's dropout is put before it is launched, [n, B, layers, width]."""
        return self._staged[parity].drawn

    def landed(self, parity: int) -> Chunk:
        return self._staged[parity].chunk

    def launch(self, parity: int) -> Event:
        """Enqueue a chunk and the way of what it made to `landed`."""
        staged = self._staged[parity]
        self._queue.upload(self._dropout.memory, staged.dropout)
        self._run()
        for slots, block in staged.results:
            self._queue.download(block, slots.memory)
        return self._queue.record()


class _Staged:
    """A chunk's dropout and results in pinned host memory: the blocks that are copied, and the arrays in them."""

    def __init__(self, dropout: Slots, gates: Slots, rings: Mapping[str, Slots]) -> None:
        self.dropout, self.drawn = dropout.pinned()
        made = [*(rings[name] for name in KEPT_OUTPUTS), gates]
        blocks, (mel, attention_weights, gate_logits) = zip(*(slots.pinned() for slots in made), strict=True)
        self.results = list(zip(made, blocks, strict=True))
        self.chunk = Chunk(mel, gate_logits[..., 0], attention_weights)
