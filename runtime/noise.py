"""The randomness of speech as a pure function of (seed, utterance, position).

Every word comes from Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11) with
key = (seed, utterance) and counter = (block + 1, stream, 0, 0): the counter that NumPy's bit generator reaches for
`block` when it is set to (0, stream, 0, 0), since it counts up before it draws. So any window can be drawn by itself,
in any order, and C++ and CUDA draw the same.

    stream 0: prenet dropout. Decoder step s owns ceil(layers * width / 256) blocks; bit i of its words (little endian)
              is unit i, layers first; a set bit keeps the unit.
    stream 1: z. Group g owns ceil(group_size / 4) blocks; words 2j and 2j + 1 give channels 2j and 2j + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError

WORDS_PER_BLOCK = 4
DROPOUT_STREAM = 0
Z_STREAM = 1
KEPT = 2.0  # 1 / (1 - p): dropout of p = 0.5 doubles what it keeps


class Noise:
    """The noise of one utterance."""

    def __init__(self, seed: int, utterance: int = 0) -> None:
        if not 0 <= seed < 2**64:
            raise RequestError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed}")
        self.key = (seed, utterance)

    def retried(self, attempt: int) -> Noise:
        """The noise of the attempt-th repetition of this utterance; attempt 0 is itself."""
        seed, utterance = self.key
        return Noise(seed, utterance + (attempt << 32))

    def words(self, stream: int, first_block: int, n_blocks: int) -> NDArray[np.uint64]:
        generator = np.random.Philox(
            key=np.array(self.key, np.uint64), counter=np.array([first_block, stream, 0, 0], np.uint64)
        )
        raw: NDArray[np.uint64] = generator.random_raw(n_blocks * WORDS_PER_BLOCK)
        return raw

    def prenet_dropout(self, first_step: int, n_steps: int, layers: int, width: int) -> NDArray[np.float32]:
        """float32 [n_steps, layers, width]: 0 where a unit is dropped, 2 where it is kept."""
        units = layers * width
        blocks = -(-units // (64 * WORDS_PER_BLOCK))
        words = self.words(DROPOUT_STREAM, first_step * blocks, n_steps * blocks).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8).reshape(n_steps, -1), axis=1, count=units, bitorder="little")
        return np.multiply(bits, KEPT, dtype=np.float32).reshape(n_steps, layers, width)

    def z(self, first_group: int, n_groups: int, group_size: int) -> NDArray[np.float32]:
        """float32 [group_size, n_groups], standard normal by Box and Muller's transform, computed in float64."""
        blocks = -(-group_size // WORDS_PER_BLOCK)
        words = self.words(Z_STREAM, first_group * blocks, n_groups * blocks).reshape(n_groups, -1, 2)
        uniform = (words >> np.uint64(11)) * 2.0**-53  # [0, 1)
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:, :, 0]))
        angle = 2.0 * np.pi * uniform[:, :, 1]
        pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=2).reshape(n_groups, -1)
        return np.ascontiguousarray(pairs[:, :group_size].T, dtype=np.float32)
