"""Transcribes English speech with a local recognizer, and counts the word errors."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ...runtime.errors import RequestError
from ...text.cleaners import english_cleaners

RATE = 16_000  # Hz, the sampling rate of both recognizers
PADDING = 0.2  # seconds of silence added at both ends, which pocketsphinx needs
WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json")
OPTION = "--recogniser"

Samples = NDArray[np.float32]


class Recognizer(Protocol):
    """Recognizes English words."""

    name: str  # for reports

    def words_of(self, samples: Samples, rate: int) -> list[str]:
        """Return the recognized words, as `words` returns them. rate: the sampling rate in Hz."""


class Pocketsphinx:
    """Recognizes words with pocketsphinx, whose package contains an English model."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(loglevel="FATAL")

    def words_of(self, samples: Samples, rate: int) -> list[str]:
        audio = np.pad(_resample(samples, rate), int(PADDING * RATE))
        self._decoder.start_utt()
        self._decoder.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        return words(self._decoder.hyp().hypstr) if self._decoder.hyp() else []


class Whisper:
    """Recognizes words with faster-whisper and a model in CTranslate2's format, by beam search.

    folder: has model.bin, config.json and tokenizer.json. Nothing is downloaded. Raises RequestError.
    """

    def __init__(self, folder: Path) -> None:
        missing = [name for name in WHISPER_FILES if not (folder / name).is_file()]
        if missing:
            raise RequestError(
                f"{OPTION} whisper:{folder}: {', '.join(missing)} not found; "
                "expected a folder with a Whisper model in CTranslate2's format"
            )
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise RequestError(f"{OPTION} whisper: {error}; install it with: pip install faster-whisper") from error
        self.name = f"whisper, {folder.name}"
        try:
            self._model = WhisperModel(str(folder), device="cpu", compute_type="float32", local_files_only=True)
        except (RuntimeError, ValueError) as error:
            raise RequestError(f"{OPTION} whisper:{folder}: {error}") from error

    def words_of(self, samples: Samples, rate: int) -> list[str]:
        audio = np.pad(_resample(samples, rate), int(PADDING * RATE)).astype(np.float32)
        segments, _ = self._model.transcribe(
            audio,
            language="en",
            beam_size=5,
            temperature=0.0,  # no random second try: the same audio gives the same words
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return words(" ".join(segment.text for segment in segments))


def open_recognizer(name: str | None) -> Recognizer | None:
    """Return `pocketsphinx` or `whisper:FOLDER`; with None, pocketsphinx if it is installed. Raises RequestError."""
    if name is None:
        return Pocketsphinx() if importlib.util.find_spec("pocketsphinx") else None
    kind, _, folder = name.partition(":")
    if kind == "whisper" and folder:
        return Whisper(Path(folder))
    if name != "pocketsphinx":
        raise RequestError(f"{OPTION} {name}: unknown; expected pocketsphinx or whisper:FOLDER")
    if importlib.util.find_spec("pocketsphinx") is None:
        raise RequestError(f"{OPTION} pocketsphinx: is not installed; install it with: pip install pocketsphinx")
    return Pocketsphinx()


def words(text: str) -> list[str]:
    """Return the words of an English text in lower case, without punctuation, with numbers and titles spelled out."""
    return re.findall(r"[a-z']+", english_cleaners(text))


def word_errors(expected: list[str], heard: list[str]) -> int:
    """Return the Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        previous, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


def _resample(samples: Samples, rate: int) -> NDArray[np.float64]:
    common = np.gcd(RATE, rate)
    resampled: NDArray[np.float64] = resample_poly(samples.astype(np.float64), RATE // common, rate // common)
    return resampled
