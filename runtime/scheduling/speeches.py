"""Requests in progress: which of their pieces need decoder steps, and what the vocoder can do for them meanwhile."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..acoustic import token_bucket
from ..decoder import DecodedItem, EncoderOutput
from ..noise import Noise
from ..options import ResolvedOptions, SegmentFrames
from ..output.audio import Audio, Utterance
from ..pieces import Piece, place_pieces, place_segment
from ..stream import UtteranceWindows, Window
from ..synthesizer import Synthesizer, add_time, utterance_of
from ..vocoder import Samples
from .handle import SpeechHandle
from .lanes import Job
from .metrics import MetricsCounter
from .rows import Row, RowDecoder

SEGMENTS_IN_FLIGHT = 2  # of one stream: more cores than one serve a lone stream too


@dataclass(eq=False)
class SpokenPiece:
    """A piece of a request, and the row that decodes it once it is opened."""

    index: int
    piece: Piece
    bucket: int
    noise: Noise
    row: Row | None = None
    encoded: EncoderOutput | None = None
    attempt: int = 0
    cut: bool = False  # true once the vocoder has got all of it
    timings: dict[str, float] = field(default_factory=dict)

    def open(self, voice: Synthesizer, decoder: RowDecoder, options: ResolvedOptions) -> Row:
        """Begin to decode the piece, or begin again with the noise of the next attempt."""
        if self.encoded is None:
            with add_time(self.timings, "encoder"):
                self.encoded = voice.acoustic.encode([self.piece.ids])
        self.row = decoder.open(self.encoded, voice.prefetch(self.noise.for_attempt(self.attempt), options), options)
        return self.row

    @property
    def running(self) -> bool:
        return self.row is not None and self.row.decoded.running

    @property
    def ended(self) -> bool:
        """True once it is decoded to its end, or more."""
        return self.cut or (self.row is not None and not self.row.decoded.running)


class Speech(ABC):
    """One request in progress. Used in the scheduler's thread; only the work of its jobs is done elsewhere."""

    def __init__(
        self,
        voice: Synthesizer,
        handle: SpeechHandle,
        pieces: Sequence[Piece],
        seed: int,
        options: ResolvedOptions,
        expected_seconds: float,
    ) -> None:
        """expected_seconds: roughly how long the speech will be."""
        self.handle, self.options, self.expected_seconds = handle, options, expected_seconds
        self.submitted = time.monotonic()
        self.first_audio: float | None = None  # time.monotonic()
        self.begun = False  # true once a row has been opened
        self._voice, self._pieces = voice, pieces
        self._spoken = [
            SpokenPiece(i, piece, token_bucket(len(piece.ids), voice.manifest), Noise(seed, i))
            for i, piece in enumerate(pieces)
        ]
        self._utterances: dict[int, Utterance] = {}

    @abstractmethod
    def deadline(self) -> float:
        """time.monotonic() at which the next result is needed."""

    @abstractmethod
    def hungry(self) -> Iterator[SpokenPiece]:
        """The pieces that decoder steps would help now, opened or not."""

    @abstractmethod
    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        """The work that has become possible since the last call."""

    @property
    def open_rows(self) -> int:
        return sum(piece.row is not None for piece in self._spoken)

    def report(self, metrics: MetricsCounter) -> None:
        """Count how the request has ended."""
        error = self.handle.error
        metrics.ended(self.begun, error)
        if self.first_audio is not None:
            metrics.first_audio(self.first_audio - self.submitted)
        if error is None:
            seconds = self.handle.result().seconds
            metrics.spoken(sum(len(piece.ids) for piece in self._pieces), seconds, self.options.rate, self.margin())

    def margin(self) -> float | None:
        """Of a stream, its speech's seconds by those from its first audio to now."""
        return None

    def _job(self, work: Callable[[], Any], deliver: Callable[[Any], None], deadline: float | None = None) -> Job:
        deadline = self.deadline() if deadline is None else deadline
        return Job(deadline, work, deliver, self.handle.fail, lambda: not self.handle.done)

    def _put(self, segments: Sequence[Samples], utterances: Sequence[Utterance]) -> None:
        """Hand segments and the utterances that they complete to the listener, and with the last one the whole."""
        if self.first_audio is None and any(len(samples) for samples in segments):
            self.first_audio = time.monotonic()
        if len(self._utterances) == len(self._pieces):
            self.handle.finish(segments, utterances, self._audio())
        else:
            self.handle.put(segments, utterances)

    @abstractmethod
    def _audio(self) -> Audio: ...


class WholeSpeech(Speech):
    """A request whose listener wants all of it at once. Its pieces may be decoded together.

    It is due when it could have been heard to its end by a listener who began at once: short texts before long ones,
    and none waits forever.
    """

    def deadline(self) -> float:
        return self.submitted + self.expected_seconds

    def hungry(self) -> Iterator[SpokenPiece]:
        return (piece for piece in self._spoken if not piece.ended)

    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        for piece in self._spoken:
            if not piece.ended or piece.cut:
                continue
            assert piece.row is not None
            item = piece.row.decoded.item(0)
            if item.stop_reason == "frame_limit" and piece.attempt < self.options.retries:
                piece.attempt += 1
                piece.open(self._voice, decoder, self.options)
            else:
                piece.cut = True
                yield self._job(partial(self._finish, piece, item), partial(self._deliver, piece))

    def _finish(self, piece: SpokenPiece, item: DecodedItem) -> Utterance:
        return self._voice.finish(piece.piece.text, piece.piece.ids, item, self.options, piece.timings)

    def _deliver(self, piece: SpokenPiece, utterance: Utterance) -> None:
        piece.row = None
        self._utterances[piece.index] = utterance
        if len(self._utterances) == len(self._pieces):
            audio = self._audio()
            self._put([audio.samples], audio.utterances)

    def _audio(self) -> Audio:
        return self._voice.join(self._pieces, [self._utterances[i] for i in range(len(self._pieces))])


class StreamSpeech(Speech):
    """A request whose listener hears the first segment while the rest is being made. Pieces are spoken in turn.

    Its first segment is due at once, every other one when all before it have been heard.
    """

    def __init__(
        self,
        voice: Synthesizer,
        handle: SpeechHandle,
        pieces: Sequence[Piece],
        seed: int,
        options: ResolvedOptions,
        expected_seconds: float,
        frames: SegmentFrames,
    ) -> None:
        super().__init__(voice, handle, pieces, seed, options, expected_seconds)
        self._frames = frames
        self._current = 0  # index of the piece that is being cut into segments
        self._windows: UtteranceWindows | None = None  # of that piece, once it is opened
        self._samples_cut = 0
        self._cut = self._delivered = 0  # segments
        self._ready: dict[int, Callable[[], None]] = {}  # deliveries that earlier segments hold up
        self._segments: list[Samples] = []  # all of them, with pauses
        self._own_samples: list[Samples] = []  # of the piece that is being delivered

    def deadline(self) -> float:
        if self.first_audio is None:
            return self.submitted
        return self.first_audio + self._samples_cut / self.handle.sampling_rate

    def margin(self) -> float | None:
        if self.first_audio is None:
            return None
        return self.handle.result().seconds / max(time.monotonic() - self.first_audio, 1e-6)

    def hungry(self) -> Iterator[SpokenPiece]:
        """The current piece, unless it is decoded beyond the next segment and the one after it."""
        if self._current == len(self._spoken):
            return
        piece = self._spoken[self._current]
        windows = self._windows_of_current()
        if piece.row is None or windows is None:
            is_hungry = True
        else:
            is_hungry = piece.running and piece.row.decoded.frame < windows.frames_wanted + self._frames.later
        if is_hungry:
            yield piece

    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        while self._current < len(self._spoken) and self._cut - self._delivered < SEGMENTS_IN_FLIGHT:
            piece, windows = self._spoken[self._current], self._windows_of_current()
            if piece.row is None or windows is None:
                return
            if piece.running and piece.row.decoded.frame < windows.frames_wanted:
                return
            with add_time(piece.timings, "postnet"):
                window = windows.next()
            deadline, number = self.deadline(), self._cut
            self._cut += 1
            self._samples_cut += (window.stop - window.start) * self._voice.manifest.audio.hop_length
            if window.is_last:
                self._current, self._windows = self._current + 1, None
            place = partial(self._place, piece, windows, window)
            yield self._job(partial(self._vocode, piece, window), partial(self._deliver, number, place), deadline)

    def _windows_of_current(self) -> UtteranceWindows | None:
        piece = self._spoken[self._current]
        if self._windows is None and piece.row is not None:
            voice, row = self._voice, piece.row
            self._windows = UtteranceWindows(
                voice.acoustic, voice.vocoder, row.decoded, row.noise, self.options, self._frames
            )
        return self._windows

    def _vocode(self, piece: SpokenPiece, window: Window) -> Samples:
        self.options.check_cancelled()
        with add_time(piece.timings, "vocoder"):
            return window.samples(self._voice.vocoder)

    def _deliver(self, number: int, place: Callable[[Samples], None], samples: Samples) -> None:
        """Hand over this segment and those that it held up, in order."""
        self._ready[number] = partial(place, samples)
        while self._delivered in self._ready:
            self._ready.pop(self._delivered)()
            self._delivered += 1

    def _place(self, piece: SpokenPiece, windows: UtteranceWindows, window: Window, samples: Samples) -> None:
        segments = list(
            place_segment(
                samples, self.handle.sampling_rate, self._pieces, piece.index, window.start == 0, window.is_last
            )
        )
        self._segments += segments
        self._own_samples.append(samples)
        completed: list[Utterance] = []
        if window.is_last:
            completed = [self._complete(piece, windows.mel)]
        self._put(segments, completed)

    def _complete(self, piece: SpokenPiece, mel: Samples) -> Utterance:
        """The utterance of a piece whose last segment is there, in its place after those before it."""
        assert piece.row is not None
        own, item, options = np.concatenate(self._own_samples), piece.row.decoded.item(0), self.options
        utterance = utterance_of(piece.piece.text, piece.piece.ids, item, mel, own, options.rate, piece.timings)
        self._utterances[piece.index] = utterance
        self._own_samples, piece.row = [], None
        lengths = [len(self._utterances[i].samples) for i in range(piece.index + 1)]
        starts = place_pieces(self._pieces[: piece.index + 1], lengths, self.handle.sampling_rate)
        return replace(utterance, start=starts[-1])

    def _audio(self) -> Audio:
        joined = self._voice.join(self._pieces, [self._utterances[i] for i in range(len(self._pieces))])
        return replace(joined, samples=np.concatenate(self._segments))
