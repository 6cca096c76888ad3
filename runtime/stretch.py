"""Changes the speaking rate: a mel is stretched along time before the vocoder, which keeps the pitch.

Stretched frame j is the mel at position j * rate, interpolated linearly, so that any part of it can be computed alone:
streams, batches and C++ give the same frames. At rate 1 the mel is unchanged.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def stretched_frames(frames: int, rate: float) -> int:
    """Frames after stretching: frames / rate, rounded half up, and at least one of a mel that is not empty."""
    return max(math.floor(frames / rate + 0.5), min(frames, 1))


def frames_needed(stretched: int, rate: float) -> int:
    """Frames of the mel that its first `stretched` stretched frames depend on, unless the mel ends before."""
    return math.ceil((stretched - 1) * rate) + 1


def stretch(mel: NDArray[np.float32], rate: float, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
    """Stretched frames start to stop of a mel [M, F]; None: to its end. Positions after the last frame are on it."""
    if rate == 1.0:
        return mel[:, start:stop]
    frames = mel.shape[1]
    positions = np.arange(start, stretched_frames(frames, rate) if stop is None else stop) * rate
    positions = np.minimum(positions, frames - 1)
    left = positions.astype(np.intp)
    right = np.minimum(left + 1, frames - 1)
    weight = positions - left  # float64, so that the sum below rounds once
    stretched: NDArray[np.float32] = (mel[:, left] * (1.0 - weight) + mel[:, right] * weight).astype(np.float32)
    return stretched
