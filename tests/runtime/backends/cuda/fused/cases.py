"""Cases for the emulated kernel: random decoders, small enough that a launch takes a tenth of a second."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tacoglow.runtime.backends.cuda.fused.plan import GpuLimits, Plan, make_plan
from tacoglow.runtime.backends.cuda.fused.weights import DecoderWeights

from .emulated import EmulatedDecoder, build
from .model import SMALL, Array, Decoded, Encoded, initial_state, random_dropout, random_weights

FEW_BLOCKS = GpuLimits(8, 227 << 10)
STEPS = 6
LENGTHS = [40, 3, 17]


class Case(NamedTuple):
    weights: DecoderWeights
    encoded: Encoded
    dropout: Array
    state: dict[str, Array]

    @classmethod
    def random(cls, dims: dict[str, int] = SMALL, lengths: list[int] = LENGTHS, steps: int = STEPS) -> Case:
        batch, tokens = len(lengths), max(lengths)
        encoded = Encoded.random(dims, lengths, tokens)
        dropout = random_dropout(steps, batch, dims["PRENET"])
        return cls(random_weights(dims), encoded, dropout, initial_state(dims, batch, tokens))

    def plan(self, gpu: GpuLimits = FEW_BLOCKS, warps: int = 4) -> Plan:
        batch, tokens = self.encoded.memory.shape[:2]
        return make_plan(self.weights, gpu, batch, tokens, warps)

    def decoder(self, grid_barriers: bool = False, plan: Plan | None = None) -> EmulatedDecoder:
        plan = plan or self.plan()
        return EmulatedDecoder(build(plan, grid_barriers), plan, self.weights, self.encoded, self.state)

    def item(self, i: int) -> Case:
        state = {name: array[i : i + 1] for name, array in self.state.items()}
        dropout = np.ascontiguousarray(self.dropout[:, i : i + 1])
        return Case(self.weights, self.encoded.item(i), dropout, state)


def errors(made: Decoded, expected: Decoded) -> dict[str, float]:
    """Of each output, the largest error; NaN where something was not written."""
    return {name: float(np.abs(array - expected.outputs[name]).max()) for name, array in made.outputs.items()}


def same(made: Decoded, expected: Decoded) -> bool:
    return all(np.array_equal(array, expected.outputs[name]) for name, array in made.outputs.items())
