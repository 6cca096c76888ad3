"""Silence at the ends of speech: where the audible part begins and ends, for complete speech and for streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SILENCE = 10.0 ** (
    -50.0 / 20.0
)  # root mean square below which FRAME_SECONDS of speech at volume 1 are silent: -50 dBFS
FRAME_SECONDS = 0.01
NO_SPEECH = "no speech is left"  # in a warning about audio without samples, as of "!" once it is trimmed
KEPT_FRAMES = 2  # silent frames that stay at either end, so that soft beginnings and ends are whole

Samples = NDArray[np.float32]


class SilenceTrimmer:
    """Leaves out the silence at both ends of speech that comes in segments; how it is cut does not matter.

    Silence within the speech is given back with the next audible samples.
    """

    def __init__(self, sampling_rate: int, volume: float = 1.0) -> None:
        """sampling_rate: in Hz. volume: factor of the samples."""
        self.lead = 0  # samples left out at the beginning; all of them as long as nothing was audible
        self._frame = max(1, int(FRAME_SECONDS * sampling_rate))
        self._threshold = (SILENCE * volume) ** 2
        self._held: Samples = np.zeros(0, np.float32)  # from the beginning of a frame on
        self._quiet: int | None = None  # silent frames given back after the last audible one; None: none was audible

    def push(self, samples: Samples, is_last: bool = False) -> Samples:
        """Take the next segment, and return what of them can be heard by now; possibly nothing."""
        held = np.concatenate([self._held, samples])
        power = self._power(held, is_last)
        audible = np.flatnonzero(power > self._threshold)
        if self._quiet is None:
            dropped = max(0, (audible[0] if len(audible) else len(power)) - KEPT_FRAMES)
            self.lead += int(dropped) * self._frame
            held, audible, frames = held[dropped * self._frame :], audible - dropped, len(power) - dropped
        else:
            frames = len(power)
        given = 0
        if len(audible) or self._quiet is not None:
            end = int(audible[-1]) + 1 if len(audible) else -(self._quiet or 0)
            given = max(0, min(end + KEPT_FRAMES, frames))
            self._quiet = given - end
        self._held = held[given * self._frame :]
        return held[: given * self._frame]

    def _power(self, held: Samples, is_last: bool) -> NDArray[np.float64]:
        """The mean square of each complete frame, and if no more samples follow, of the rest."""
        rest = -len(held) % self._frame if is_last else 0
        frames = (len(held) + rest) // self._frame
        padded = np.pad(held, (0, rest))[: frames * self._frame]
        power: NDArray[np.float64] = (padded.reshape(frames, self._frame).astype(np.float64) ** 2).mean(1)
        return power


def trim_silence(samples: Samples, sampling_rate: int, volume: float = 1.0) -> tuple[Samples, int]:
    """Return samples without the silence at their ends, and how many were left out at the beginning."""
    trimmer = SilenceTrimmer(sampling_rate, volume)
    return trimmer.push(samples, is_last=True), trimmer.lead
