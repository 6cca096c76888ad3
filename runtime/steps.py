"""Decoder steps of one batch, in chunks: started ahead, collected in order. Here on the host, a step at a time;
device/loop.py has the ones that run on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .backends.base import Array, Call, GraphRunner
from .manifest import Manifest
from .noise import Noise

DROPOUT_STEPS = 64  # whose dropout is drawn at once on the host


@dataclass(frozen=True)
class EncoderOutput:
    memory: NDArray[np.float32]  # [B, T, E]
    processed_memory: NDArray[np.float32]  # [B, T, A]
    memory_mask: NDArray[np.bool_]  # [B, T], true where the padding is

    def items(self, rows: Sequence[int]) -> EncoderOutput:
        """The batch of these rows alone, at the same padding."""
        return EncoderOutput(*(np.ascontiguousarray(array[list(rows)]) for array in vars(self).values()))


@dataclass(frozen=True)
class Chunk:
    """What n steps made, r frames each."""

    mel: NDArray[np.float32]  # [n, B, r * M]
    gate_logits: NDArray[np.float32]  # [n, B]
    attention_weights: NDArray[np.float32]  # [n, B, T]


class Steps(ABC):
    """The steps of one batch from its first; every chunk has the same number of steps."""

    chunk_steps: ClassVar[int]
    chunks_ahead: ClassVar[int]  # that are started before the oldest is collected

    @abstractmethod
    def start(self, first_step: int) -> None:
        """Start the chunk that begins with this step, the one after the last that was started."""

    @abstractmethod
    def collect(self) -> Chunk:
        """The oldest chunk that was started and not collected; its arrays hold until the next start or collect."""


def draw_dropout(drawn: NDArray[np.float32], first_step: int, noises: Sequence[Noise]) -> None:
    """Fill drawn [n, B, layers, width] with the dropout of n steps, an item's from its own noise."""
    steps, _, layers, width = drawn.shape
    for i, noise in enumerate(noises):
        drawn[:, i] = noise.prenet_dropout(first_step, steps, layers, width)


class HostLoop:
    """Opens the steps of batches over a graph that runs on the host."""

    def __init__(self, step: GraphRunner, manifest: Manifest) -> None:
        self.step, self.manifest = step, manifest

    def open(self, encoded: EncoderOutput, noises: Sequence[Noise]) -> Steps:
        return HostSteps(self.step, self.manifest, encoded, noises)


class HostSteps(Steps):
    """Two sets of state buffers and the step bound both ways: even steps read set 0 and write set 1."""

    chunk_steps = 1
    chunks_ahead = 0

    def __init__(self, step: GraphRunner, manifest: Manifest, encoded: EncoderOutput, noises: Sequence[Noise]) -> None:
        self._noises = noises
        batch, tokens, _ = encoded.memory.shape
        dims = {"B": batch, "T": tokens}
        tensors, states = step.spec.tensors, manifest.decoder.states
        shape = tensors["prenet_dropout"].resolve(dims)
        self._drawn = np.zeros((DROPOUT_STEPS, *shape), np.float32)
        self._dropout = np.zeros(shape, np.float32)
        fixed: dict[str, Array] = dict(vars(encoded), prenet_dropout=self._dropout)
        fixed["gate_logit"] = np.zeros(tensors["gate_logit"].resolve(dims), np.float32)
        sets = [{name: np.zeros(tensors[name].resolve(dims), tensors[name].dtype) for name in states} for _ in range(2)]
        self._calls: list[Call] = []
        self._chunks: list[Chunk] = []
        for source, target in (sets, reversed(sets)):
            written = {output: target[name] for name, output in states.items()}
            self._calls.append(step.bind({**fixed, **source, **written}))
            self._chunks.append(
                Chunk(
                    mel=written["mel_frame"][None],
                    gate_logits=fixed["gate_logit"].T,
                    attention_weights=written["attention_weights_out"][None],
                )
            )

    def start(self, first_step: int) -> None:
        slot = first_step % DROPOUT_STEPS
        if slot == 0:
            draw_dropout(self._drawn, first_step, self._noises)
        self._dropout[:] = self._drawn[slot]
        self._calls[first_step % 2]()
        self._last = first_step

    def collect(self) -> Chunk:
        return self._chunks[self._last % 2]
