"""A listener's player, as a server can know it: when something can be heard, and when there is nothing to play."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.output.trimming import SilenceTrimmer


class Playback:
    """A player that begins with the first segment and plays each one as soon as it has come.

    Times are those of one clock, in seconds.
    """

    def __init__(self, sampling_rate: int, volume: float, requested: float) -> None:
        """sampling_rate: in Hz. volume: factor of the samples. requested: when the speech was asked for."""
        self._rate, self._requested = sampling_rate, requested
        self._dry: float | None = None  # when everything that has come is played; None: nothing has come
        self._trimmer: SilenceTrimmer | None = SilenceTrimmer(sampling_rate, volume)  # until something can be heard
        self._position = 0  # samples that have come

    def play(self, samples: NDArray[np.float32], now: float) -> float | None:
        """Take a segment; returns the seconds from the request to the first sound that can be heard, if it is in it."""
        begins = now if self._dry is None else max(self._dry, now)
        self._dry = begins + len(samples) / self._rate
        onset = self._find_onset(samples, begins)
        self._position += len(samples)
        return onset

    def stalled(self, now: float) -> float:
        """Seconds that the player has had nothing to play, at the moment in which it gets more."""
        return 0.0 if self._dry is None else max(0.0, now - self._dry)

    def _find_onset(self, samples: NDArray[np.float32], begins: float) -> float | None:
        if self._trimmer is None or not len(self._trimmer.push(samples)):
            return None
        lead, self._trimmer = self._trimmer.lead, None
        return begins + (lead - self._position) / self._rate - self._requested
