"""The decoder loop on a device: a chunk of steps is one launch, and the host looks at the gates one chunk late.

Every step of a chunk has its own slots for dropout, mel, gate and attention, so that a whole chunk can be captured as
one CUDA graph; the step's states ping-pong between two. The chunk after is started before a chunk is collected: the
device never waits for the host. Looking late only means that some steps too many are run; they are dropped.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from ..manifest import Manifest
from ..noise import Noise
from ..steps import Chunk, EncoderOutput, Steps, draw_dropout
from .queue import DeviceArray, Enqueue, Event
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
        draw_dropout(self._buffers.drawn[parity], first_step, self._noises)
        self._started.append((parity, self._buffers.launch(parity)))

    def collect(self) -> Chunk:
        parity, done = self._started.pop(0)
        done.wait()
        return self._buffers.landed[parity]


class _ChunkBuffers:
    """Memory of a chunk of one batch size and token bucket, and the call that runs the chunk over it.

    Host memory is there twice, by parity of the chunk: one is read or filled while the device works on the other.
    """

    def __init__(self, step: DeviceGraphRunner, manifest: Manifest, batch: int, tokens: int) -> None:
        queue = self._queue = step.queue
        tensors, states = step.spec.tensors, manifest.decoder.states
        shapes = {name: tensor.resolve({"B": batch, "T": tokens}) for name, tensor in tensors.items()}

        def slots(name: str, n: int = CHUNK_STEPS) -> DeviceArray:
            return queue.empty((n, *shapes[name]), tensors[name].dtype)

        # A step reads the slot before its own; the states that are only passed on need two.
        self._rings = {
            output: slots(output) if output in KEPT_OUTPUTS else slots(output, 2) for output in states.values()
        }
        self._dropout, self._gates = slots("prenet_dropout"), slots("gate_logit")
        self._encoded = {
            name: queue.empty(shapes[name], tensors[name].dtype) for name in EncoderOutput.__dataclass_fields__
        }
        self.drawn = [queue.pinned(self._dropout.shape, np.float32) for _ in range(2)]
        self.landed = [
            Chunk(
                mel=queue.pinned(self._rings["mel_frame"].shape, np.float32),
                gate_logits=queue.pinned(self._gates.shape[:2], np.float32),
                attention_weights=queue.pinned(self._rings["attention_weights_out"].shape, np.float32),
            )
            for _ in range(2)
        ]
        context = step.new_context()
        calls = []
        for i in range(CHUNK_STEPS):
            read = {name: self._rings[output][i - 1] for name, output in states.items()}
            written = {output: ring[i] for output, ring in self._rings.items()}
            slot = {"prenet_dropout": self._dropout[i], "gate_logit": self._gates[i]}
            calls.append(context.bind({**self._encoded, **slot, **read, **written}))
        self._run = self._captured(step, calls)

    def _captured(self, step: DeviceGraphRunner, calls: Sequence[Enqueue]) -> Enqueue:
        def chunk() -> None:
            for call in calls:
                call()

        calls[0]()  # an engine prepares itself for a shape the first time, which cannot be captured
        return step.captured(chunk)

    def reset(self, encoded: EncoderOutput) -> None:
        """Make ready for a batch's first step: states zero, and what the attention looks at."""
        for ring in self._rings.values():
            self._queue.zero(ring)
        for name, array in vars(encoded).items():
            self._queue.upload(self._encoded[name], array)

    def launch(self, parity: int) -> Event:
        """Enqueue a chunk and the way of what it made to `landed`."""
        queue, landed = self._queue, self.landed[parity]
        queue.upload(self._dropout, self.drawn[parity])
        self._run()
        queue.download(landed.mel, self._rings["mel_frame"])
        queue.download(landed.attention_weights, self._rings["attention_weights_out"])
        queue.download(landed.gate_logits, self._gates)
        return queue.record()
