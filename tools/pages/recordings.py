"""Recordings of the voice's speaker in LJ Speech's layout: a list of texts, and a wav file for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from ...cli.lists.lines import ListFormat, read_lines
from ...runtime.errors import RequestError

LIST = "metadata.csv"  # id|text|normalized text
AUDIO = "wavs"  # folder with ID.wav for each line


@dataclass(frozen=True)
class Recording:
    text: str
    path: Path  # wav file

    def samples(self) -> tuple[NDArray[np.float32], int]:
        """Return the samples [N] in [-1, 1] and the sampling rate in Hz. Raises RequestError."""
        try:
            rate, content = wavfile.read(self.path)
        except (OSError, ValueError) as error:
            raise RequestError(f"{self.path}: cannot be read as a wav file: {error}") from error
        if content.dtype == np.uint8:
            raise RequestError(f"{self.path}: has samples of 8 bits; expected 16, 24 or 32 bits, or floats")
        mono = content if content.ndim == 1 else content.mean(axis=1)
        scale = np.iinfo(content.dtype).max + 1 if content.dtype.kind == "i" else 1
        return (mono / scale).astype(np.float32), int(rate)


def read_recordings(folder: Path) -> list[Recording]:
    """Return the recordings that a folder's list names. Raises RequestError if there are none, or a file is missing."""
    if not (folder / LIST).is_file():
        raise RequestError(f"{folder}: {LIST} not found; expected LJ Speech's layout: {LIST}, {AUDIO}/")
    found = []
    for line in read_lines(folder / LIST, ListFormat.ljspeech):
        path = folder / AUDIO / f"{line.name}.wav"
        if line.problem or not path.is_file():
            raise RequestError(f"{folder / LIST}, line {line.number}: {line.problem or f'{path} not found'}")
        found.append(Recording(line.text, path))
    if not found:
        raise RequestError(f"{folder / LIST}: has no lines")
    return found
