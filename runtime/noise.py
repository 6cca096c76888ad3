"""Random numbers for synthesis, as a pure function of (seed, utterance, position).

Every word comes from Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11) with
key = (seed, utterance) and counter = (block + 1, stream, 0, 0): the counter that NumPy's bit generator reaches for
`block` when it starts at (0, stream, 0, 0), because NumPy increments the counter before it draws. Any window can
therefore be drawn alone and in any order, and C++ draws the same words.

    stream 0: prenet dropout. Each decoder step has ceil(layers * width / 256) blocks; bit i of its words (little
              endian) is unit i, layer by layer; a set bit keeps the unit.
    stream 1: z. Each group has ceil(group_size / 4) blocks; words 2j and 2j + 1 give channels 2j and 2j + 1.
"""

from __future__ import annotations

from concurrent.futures import Executor
from threading import Event

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError

WORDS_PER_BLOCK = 4
DROPOUT_STREAM = 0
Z_STREAM = 1
KEEP_SCALE = 2.0  # 1 / (1 - p): dropout with p = 0.5 doubles the kept units


class Noise:
    """The noise of one utterance: the prenet's dropout masks and WaveGlow's z."""

    def __init__(self, seed: int, utterance: int = 0) -> None:
        if not 0 <= seed < 2**64:
            raise RequestError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed}")
        self.key = (seed, utterance)

    def for_attempt(self, attempt: int) -> Noise:
        """The noise of the given attempt at this utterance; attempt 0 is this noise itself."""
        if attempt == 0:
            return self
        seed, utterance = self.key
        return Noise(seed, utterance + (attempt << 32))

    def words(self, stream: int, first_block: int, n_blocks: int) -> NDArray[np.uint64]:
        """uint64 [4 * n_blocks]: raw words of a stream."""
        generator = np.random.Philox(
            key=np.array(self.key, np.uint64), counter=np.array([first_block, stream, 0, 0], np.uint64)
        )
        raw: NDArray[np.uint64] = generator.random_raw(n_blocks * WORDS_PER_BLOCK)
        return raw

    def prenet_dropout(self, first_step: int, n_steps: int, layers: int, width: int) -> NDArray[np.float32]:
        """float32 [n_steps, layers, width]: 0 for a dropped unit, 2 for a kept one."""
        units = layers * width
        blocks = -(-units // (64 * WORDS_PER_BLOCK))
        words = self.words(DROPOUT_STREAM, first_step * blocks, n_steps * blocks).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8).reshape(n_steps, -1), axis=1, count=units, bitorder="little")
        return np.multiply(bits, KEEP_SCALE, dtype=np.float32).reshape(n_steps, layers, width)

    def z(self, first_group: int, n_groups: int, group_size: int) -> NDArray[np.float32]:
        """float32 [group_size, n_groups], standard normal by Box and Muller's transform, computed in float64."""
        blocks = -(-group_size // WORDS_PER_BLOCK)
        words = self.words(Z_STREAM, first_group * blocks, n_groups * blocks).reshape(n_groups, -1, 2)
        uniform = np.ascontiguousarray((words >> np.uint64(11)).T) * 2.0**-53  # [2, pairs, n_groups] in [0, 1)
        radius, angle = np.sqrt(-2.0 * np.log1p(-uniform[0])), 2.0 * np.pi * uniform[1]
        z = np.empty((len(radius), 2, n_groups), np.float32)
        np.multiply(radius, np.cos(angle), out=z[:, 0], casting="same_kind")
        np.multiply(radius, np.sin(angle), out=z[:, 1], casting="same_kind")
        return z.reshape(-1, n_groups)[:group_size]


class PrefetchedNoise(Noise):
    """Noise whose z is drawn in another thread, from the start of the utterance until z is first requested.

    Drawing z takes a millisecond per second of speech, as long as WaveGlow takes on a GPU; the decoder runs meanwhile.
    """

    BLOCK = 2048  # groups drawn at a time

    def __init__(self, noise: Noise, group_size: int, limit: int, executor: Executor) -> None:
        """limit: groups of the longest utterance."""
        super().__init__(*noise.key)
        self._requested = Event()
        self._drawn = executor.submit(self._draw, group_size, limit)

    def _draw(self, group_size: int, limit: int) -> NDArray[np.float32]:
        blocks = [np.empty((group_size, 0), np.float32)]
        for first in range(0, limit, self.BLOCK):
            if self._requested.is_set():
                break
            blocks.append(super().z(first, min(self.BLOCK, limit - first), group_size))
        return np.concatenate(blocks, axis=1)

    def z(self, first_group: int, n_groups: int, group_size: int) -> NDArray[np.float32]:
        self._requested.set()
        drawn = self._drawn.result()[:, first_group : first_group + n_groups]
        missing = n_groups - drawn.shape[1]
        if missing == 0:
            return drawn
        return np.concatenate((drawn, super().z(first_group + drawn.shape[1], missing, group_size)), axis=1)
