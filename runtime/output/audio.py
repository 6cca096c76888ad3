"""Synthesized speech: samples, the intermediate results behind them, and audio files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...text import FrontEnd
from ..decoder import StopReason
from ..errors import RequestError
from ..files import atomic_write
from ..quality import Quality
from .formats import AudioFormat, choose_format, encode_file
from .timestamps import SpokenTimes, TimedText, time_utterance
from .wav_writer import WavFormat


@dataclass(frozen=True)
class Utterance:
    """One pass through the models: samples and intermediate results."""

    text: str
    token_ids: tuple[int, ...]
    mel: NDArray[np.float32]  # [M, F], after the postnet
    alignment: NDArray[np.float32]  # [F, T]: how much frame f attends to token t
    gate: NDArray[np.float32]  # [F]: the probability that the utterance has ended
    samples: NDArray[np.float32]  # [hop * F / rate], the frames rounded half up
    stop_reason: StopReason
    quality: Quality = field(default_factory=Quality)  # what its attention and its end say of it
    # Seconds per stage. The encoder and the decoder run a batch at once: these are this utterance's shares.
    timings: dict[str, float] = field(default_factory=dict)
    rate: float = 1.0  # speaking rate: the vocoder has seen the mel stretched by 1 / rate
    start: int = 0  # sample of the whole audio at which this utterance begins; below 0 if its silence was left out
    fired: float | None = None  # the gate of the frame after the last one, which ended the utterance; None: it did not

    def times(self, front_end: FrontEnd, sampling_rate: int) -> SpokenTimes:
        """When its words and characters are spoken, in seconds of the whole audio. sampling_rate: in Hz."""
        start, seconds = self.start / sampling_rate, len(self.samples) / sampling_rate
        return time_utterance(front_end, self.text, self.alignment, start, seconds)


@dataclass(frozen=True)
class Audio:
    """A synthesized text: the samples of its utterances, joined with pauses."""

    samples: NDArray[np.float32]  # nominally in [-1, 1]
    sampling_rate: int  # Hz
    utterances: tuple[Utterance, ...]  # one per piece; more than one if the text exceeded the voice's token limit
    timings: dict[str, float] = field(default_factory=dict)  # seconds per stage, without loading the models
    front_end: FrontEnd | None = field(default=None, repr=False, compare=False)  # the voice's, for the times of words
    # What the voice has no symbol for, and is not spoken: characters, and phones as "{PHONE}", each once.
    dropped: tuple[str, ...] = ()

    @property
    def stop_reason(self) -> StopReason:
        """How the text ended: "gate" if every utterance ended at its gate, otherwise the first other reason."""
        return next((u.stop_reason for u in self.utterances if u.stop_reason != "gate"), "gate")

    @property
    def quality(self) -> Quality:
        """The faults of all utterances."""
        return Quality(tuple(fault for utterance in self.utterances for fault in utterance.quality.faults))

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sampling_rate

    @property
    def words(self) -> tuple[TimedText, ...]:
        """The words of the text as they are written, each once and in order, and when each is spoken."""
        return tuple(word for times in self._times for word in times.words)

    @property
    def characters(self) -> tuple[TimedText, ...]:
        """The characters and phones that are spoken, after the cleaners, and when each is."""
        return tuple(character for times in self._times for character in times.characters)

    @cached_property
    def _times(self) -> list[SpokenTimes]:
        if self.front_end is None:
            return []  # of a mel, which has no text
        return [utterance.times(self.front_end, self.sampling_rate) for utterance in self.utterances]

    def save(
        self, file: str | Path | BinaryIO, wav_format: WavFormat = "int16", audio_format: AudioFormat | None = None
    ) -> None:
        """Write a mono audio file: a path, atomically, or a binary file object that is open for writing.

        audio_format: "wav", "flac", "opus", "mp3", "aac", "ulaw" or "alaw"; None: by the path's suffix, otherwise wav.
        wav_format: of wav samples: "int16", "int24" or "float32"; all but float32 clip samples outside [-1, 1].
        Raises RequestError for an unknown format or suffix, one that needs PyAV (the extra `formats`) where that is
        not installed, or a path that cannot be written.
        """
        if wav_format not in get_args(WavFormat):
            raise RequestError(f"wav format: expected one of {', '.join(get_args(WavFormat))}, got {wav_format!r}")
        path = Path(file) if isinstance(file, (str, Path)) else None
        content = encode_file(self.samples, self.sampling_rate, choose_format(path, audio_format), wav_format)
        if path is not None:
            atomic_write(path, content)
        else:
            cast(BinaryIO, file).write(content)
