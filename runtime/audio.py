"""Synthesized speech: samples, the intermediate results behind them, and wav files."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from .errors import RequestError
from .files import atomic_write

WavFormat = Literal["int16", "float32"]
StopReason = Literal["gate", "attention_end", "frame_limit"]


@dataclass(frozen=True)
class Utterance:
    """One pass through the models: samples and intermediate results."""

    text: str
    token_ids: tuple[int, ...]
    mel: NDArray[np.float32]  # [M, F], after the postnet
    alignment: NDArray[np.float32]  # [F, T]: how much frame f attends to token t
    gate: NDArray[np.float32]  # [F]: the probability that the utterance has ended
    samples: NDArray[np.float32]  # [F * hop]
    stop_reason: StopReason


@dataclass(frozen=True)
class Audio:
    """A synthesized text: the samples of its utterances, joined with pauses."""

    samples: NDArray[np.float32]  # nominally in [-1, 1]
    sampling_rate: int  # Hz
    utterances: tuple[Utterance, ...]  # one per piece; more than one if the text exceeded the voice's token limit
    timings: dict[str, float] = field(default_factory=dict)  # seconds per stage, without loading the models

    @property
    def stop_reason(self) -> StopReason:
        """How the text ended: "gate" if every utterance ended at its gate, otherwise the first other reason."""
        return next((u.stop_reason for u in self.utterances if u.stop_reason != "gate"), "gate")

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sampling_rate

    def save(self, path: str | Path, wav_format: WavFormat = "int16") -> None:
        """Write a mono wav file atomically; int16 clips samples outside [-1, 1]. Raises RequestError."""
        if wav_format not in ("int16", "float32"):
            raise RequestError(f"wav format: expected int16 or float32, got {wav_format!r}")
        samples = self.samples if wav_format == "float32" else to_int16(self.samples)
        content = io.BytesIO()
        wavfile.write(content, self.sampling_rate, samples)
        atomic_write(Path(path), content.getvalue())


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled: NDArray[np.float32] = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(32767.0))
    return scaled.astype(np.int16)
