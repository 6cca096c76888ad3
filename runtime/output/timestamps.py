"""When each word and each token is spoken, from the alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...text import FrontEnd

LEAST_WEIGHT = 1e-6  # attention below this counts as this, so that one frame cannot decide a whole path


@dataclass(frozen=True)
class TimedText:
    """A word, or a character or phone, and when it is spoken."""

    text: str
    start: float  # seconds
    end: float

    def shifted(self, seconds: float) -> TimedText:
        return TimedText(self.text, self.start + seconds, self.end + seconds)


def token_bounds(alignment: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return int64 [T + 1]: token t is spoken from frame bounds[t] to frame bounds[t + 1] of an alignment [F, T].

    Of all paths that never go back, this is the one that the attention follows most closely: the path with the largest
    sum of log weights, found by dynamic programming. Tokens that it passes over take no frames.
    """
    frames, tokens = alignment.shape
    if frames == 0:
        return np.zeros(tokens + 1, np.int64)
    scores = np.log(np.maximum(alignment, LEAST_WEIGHT, dtype=np.float64))
    total = scores[0]
    came_from = np.empty((frames, tokens), np.int64)
    index = np.arange(tokens)
    for frame in range(1, frames):
        best = np.maximum.accumulate(total)
        came_from[frame] = np.maximum.accumulate(np.where(total == best, index, 0))
        total = best + scores[frame]
    path = np.empty(frames, np.int64)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return np.searchsorted(path, np.arange(tokens + 1))


@dataclass(frozen=True)
class SpokenTimes:
    """The words and tokens of one utterance, in order."""

    words: tuple[TimedText, ...]
    characters: tuple[TimedText, ...]  # the tokens: what is spoken, after cleaning; phones without their mark


def time_utterance(
    front_end: FrontEnd, text: str, alignment: NDArray[np.float32], start: float, seconds: float
) -> SpokenTimes:
    """Find the times of an utterance that lasts `seconds` from `start` on. alignment: [F, T], of all its frames.

    start: below 0 if silence at its beginning was left out; no time is.
    """
    ids = front_end.lookup(text)
    bounds = token_bounds(alignment)
    moments = np.maximum(start + bounds * (seconds / max(len(alignment), 1)), 0.0)

    def timed(text: str, first: int, stop: int) -> TimedText:
        return TimedText(text, float(moments[first]), float(moments[stop]))

    words = (timed(word.text, word.first, word.stop) for word in front_end.words(text))
    tokens = (timed(front_end.name(position), i, i + 1) for i, position in enumerate(ids))
    return SpokenTimes(tuple(words), tuple(tokens))
