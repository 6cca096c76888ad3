"""Finds the symbols of a checkpoint that no training has taught, from the rows of its embedding.

A symbol that no training text contains gets no gradient. Its row is then as it was initialized: NVIDIA draws it
evenly between -b and b with b = sqrt(3) * sqrt(2 / (symbols + width)), a bound that training soon exceeds. Or weight
decay, which Adam applies to every row, has shrunk it to nothing: in the demo voice from 0.07 to 0.0003, for all
phones and for the capital letters, which its cleaners never emit, while the letters of its texts are at 0.07 to 0.17.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECAYED = 0.02  # share of the largest rows' median size, below which a row has decayed
LARGEST_ROWS = 20
INITIAL_SIZE_TOLERANCE = 0.15  # share of an initial row's size: five standard deviations of a few hundred numbers


def untrained_rows(embedding: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the rows of an embedding [symbols, width] that look as no training leaves them: bool [symbols]."""
    symbols, width = embedding.shape
    bound = np.sqrt(3.0) * np.sqrt(2.0 / (symbols + width))
    size = np.sqrt(np.mean(np.square(embedding, dtype=np.float64), axis=1))
    usual = np.median(np.sort(size)[-LARGEST_ROWS:])
    is_initial_size = np.abs(size / (bound / np.sqrt(3.0)) - 1.0) < INITIAL_SIZE_TOLERANCE
    is_within_bound = np.max(np.abs(embedding), axis=1) <= bound * (1.0 + 1e-6)
    untrained: NDArray[np.bool_] = (size <= DECAYED * usual) | (is_initial_size & is_within_bound)
    return untrained
