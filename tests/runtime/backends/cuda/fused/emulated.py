"""fused_decoder.cu compiled by g++ for the CPU emulation, and launched on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacoglow.runtime.backends.cuda.fused.kernel import source as kernel_source
from tacoglow.runtime.backends.cuda.fused.packing import pack
from tacoglow.runtime.backends.cuda.fused.plan import Plan
from tacoglow.runtime.backends.cuda.fused.weights import DecoderWeights
from tacoglow.tests.pretend_driver.emulation import build_fused

from .model import STATES, Array, Decoded, Encoded


class EmulationError(Exception):
    """The threads wait for each other for ever, or disagree about what they wait for."""


def build(plan: Plan, grid_barriers: bool = False, source: str | None = None, optimize: str = "-O1") -> ctypes.CDLL:
    """The kernel for this plan; source: another text in its place, such as one with a fault in it.

    optimize: -O2 compiles for seconds longer, and pays for itself in long runs of large decoders.
    """
    # Lines are counted from the source's first, so that `remove_line` can name one.
    header = f"{plan.header}#define GRID_BARRIERS {int(grid_barriers)}\n#line 1\n"
    loaded = ctypes.CDLL(str(build_fused(header + (source or kernel_source()), optimize)))
    loaded.emulate_launch.restype = ctypes.c_char_p
    return loaded


class EmulatedDecoder:
    """State that the launches of one utterance share: packed weights, workspace, progress, decoder state."""

    def __init__(
        self,
        library: ctypes.CDLL,
        plan: Plan,
        weights: DecoderWeights,
        encoded: Encoded,
        state: dict[str, Array],
        keys: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """keys: seed and utterance of each item, of which the kernel draws the dropout where it is given none."""
        batch = len(encoded.lengths)
        assert batch == plan.batch
        self._library, self._encoded = library, encoded
        self._keys = np.array(keys if keys is not None else [(0, 0)] * batch, np.uint64)
        self._packed = _aligned(pack(weights, plan))
        self._workspace = _aligned(np.zeros(plan.workspace_bytes, np.uint8))
        self.progress = np.full(1 + batch, -1, np.int32)
        self.state = {name: np.ascontiguousarray(state[name], np.float32).copy() for name in STATES}
        self._mel_width = plan.dims["MEL"]

    def launch(self, dropout: Array | int, first_step: int = 0, gate_threshold: float = 1e30, seed: int = 0) -> Decoded:
        """The steps that were done; with NaN where the kernel should have written and did not.

        dropout: factors, or the number of steps whose dropout the kernel draws. seed: of the scheduler.
        """
        steps = dropout if isinstance(dropout, int) else len(dropout)
        batch, tokens = len(self._encoded.lengths), self._encoded.memory.shape[1]
        made = Decoded(
            np.full((steps, batch, self._mel_width), np.nan, np.float32),
            np.full((steps, batch), np.nan, np.float32),
            np.full((steps, batch, tokens), np.nan, np.float32),
            self.state,
        )
        factors = None if isinstance(dropout, int) else np.ascontiguousarray(dropout, np.float32)
        arguments = [
            ctypes.c_ulonglong(seed),
            *map(_address, (self._packed, self._encoded.memory, self._encoded.processed_memory, self._encoded.lengths)),
            ctypes.c_int(tokens),
            _address(self._keys),
            ctypes.c_void_p() if factors is None else _address(factors),
            ctypes.c_int(steps),
            ctypes.c_int(first_step),
            ctypes.c_float(gate_threshold),
            *(_address(self.state[name]) for name in STATES),
            *map(_address, (made.mel, made.gate_logits, made.alignments, self.progress, self._workspace)),
        ]
        failure = self._library.emulate_launch(*arguments)
        if failure is not None:
            raise EmulationError(failure.decode())
        return made


def _address(array: Array) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def _aligned(array: NDArray[Any]) -> NDArray[np.uint8]:
    """A copy at a multiple of 256 bytes, as on a GPU."""
    room = np.zeros(array.nbytes + 256, np.uint8)
    start = -room.ctypes.data % 256
    copy = room[start : start + array.nbytes]
    copy[:] = array
    return copy
