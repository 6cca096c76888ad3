"""Transcribes speech with pocketsphinx and counts the word errors."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE = 16_000  # Hz, the sampling rate of pocketsphinx's English model
PADDING = 0.2  # seconds of silence added at both ends, which pocketsphinx needs


class Recognizer:
    """Recognizes English words with pocketsphinx, whose package contains the model."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(loglevel="FATAL")

    def words_of(self, samples: NDArray[np.float32], rate: int) -> list[str]:
        """Return the recognized words. rate: the sampling rate in Hz."""
        common = np.gcd(RATE, rate)
        audio = resample_poly(samples.astype(np.float64), RATE // common, rate // common)
        audio = np.pad(audio, int(PADDING * RATE))
        self._decoder.start_utt()
        self._decoder.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        return self._decoder.hyp().hypstr.split() if self._decoder.hyp() else []


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def word_errors(expected: list[str], heard: list[str]) -> int:
    """Return the Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        previous, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]
