"""Requests in progress: which of their pieces need decoder steps, and what the vocoder can do for them meanwhile.

A piece goes through the stages of `policy.Stage`, in order, but for a retry: that returns it to DECODING.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..decoder import DecodedBatch, DecodedItem, EncoderOutput
from ..noise import Noise
from ..options import ResolvedOptions, SegmentFrames
from ..output.audio import Audio, Utterance
from ..pieces import Piece, Split, place_segment
from ..stream import UtteranceWindows, Window
from ..synthesizer import Synthesizer, add_time, utterance_of
from ..vocoder import Samples
from .handle import SpeechHandle
from .lanes import Job
from .metrics import MetricsCounter
from .policy import Stage, is_far_ahead, may_cut, segment_deadline, whole_deadline
from .rows import Row, RowDecoder


@dataclass(frozen=True)
class Order:
    """A request as it was accepted."""

    voice: Synthesizer
    handle: SpeechHandle
    split: Split
    seed: int
    options: ResolvedOptions
    expected_seconds: float  # roughly how long the speech will be
    submitted: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class SpokenPiece:
    """A piece of a request, and the row that decodes it."""

    index: int
    piece: Piece
    noise: Noise
    stage: Stage = Stage.WAITING
    row: Row | None = None  # from DECODING to VOCODING
    encoded: EncoderOutput | None = None
    attempt: int = 0
    best: tuple[Row, DecodedItem] | None = None  # of the attempts so far, where a faulty one is not the last
    timings: dict[str, float] = field(default_factory=dict)

    def open(self, voice: Synthesizer, decoder: RowDecoder, options: ResolvedOptions) -> Row:
        """Begin to decode the piece, or begin again with the noise of the next attempt."""
        if self.encoded is None:
            with add_time(self.timings, "encoder"):
                self.encoded = voice.acoustic.encode([self.piece.ids])
        options = self.scaled(options)
        self.row = decoder.open(self.encoded, voice.prefetch(self.noise.for_attempt(self.attempt), options), options)
        self.stage = Stage.DECODING
        return self.row

    def scaled(self, options: ResolvedOptions) -> ResolvedOptions:
        """The request's options at the piece's own rate and volume."""
        return options.scaled(self.piece.rate, self.piece.volume)

    def advanced(self, seconds: float) -> None:
        """Take note of decoder steps, of which the piece's share took so many seconds."""
        assert self.row is not None
        self.timings["decoder"] = self.timings.get("decoder", 0.0) + seconds
        if not self.row.decoded.running:
            self.stage = Stage.DECODED

    def settle(self, voice: Synthesizer, decoder: RowDecoder, options: ResolvedOptions) -> DecodedItem | None:
        """Judge a decoded piece: the best attempt, whose row is then the piece's, or None if it is decoded again."""
        assert self.row is not None
        ids, attempt = self.piece.ids, (self.row, self.row.decoded.item(0))
        if self.best is None or voice.acoustic.better(ids, self.best[1], attempt[1]) is attempt[1]:
            self.best = attempt
        self.row, item = self.best
        if self.attempt == options.retries or not voice.acoustic.severity(ids, item):
            return item
        self.attempt += 1
        self.open(voice, decoder, options)
        return None

    def spoken(self) -> None:
        self.stage, self.row, self.best = Stage.SPOKEN, None, None


class SpeechTask(ABC):
    """One request in progress. Used in the scheduler's thread; only the work of its jobs is done elsewhere.

    Its pieces are opened one by one, so that what a task costs at each pass does not grow with its text.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.handle, self.options = order.handle, order.options
        self.first_audio: float | None = None  # time.monotonic()
        self.open_pieces: list[SpokenPiece] = []  # from DECODING to VOCODING
        self._rest = (SpokenPiece(i, piece, Noise(order.seed, i)) for i, piece in enumerate(order.split.pieces))
        self.next_piece = next(self._rest, None)  # the first one that waits
        self._utterances: dict[int, Utterance] = {}

    @property
    def begun(self) -> bool:
        """True once a piece has been opened."""
        return self.next_piece is None or self.next_piece.index > 0

    @abstractmethod
    def deadline(self) -> float:
        """time.monotonic() at which the next result is needed."""

    @abstractmethod
    def hungry(self) -> Iterator[SpokenPiece]:
        """Pieces that need decoder steps: open ones, and the first that waits."""

    @abstractmethod
    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        """The work that has become possible since the last call."""

    def open_next(self, decoder: RowDecoder) -> Row:
        """Open the first piece that waits."""
        piece = self.next_piece
        assert piece is not None
        row = piece.open(self.order.voice, decoder, self.options)
        self.open_pieces.append(piece)
        self.next_piece = next(self._rest, None)
        return row

    def report(self, metrics: MetricsCounter) -> None:
        """Count how the request has ended."""
        error = self.handle.error
        metrics.ended(self.begun, error)
        if self.first_audio is not None:
            metrics.first_audio(self.first_audio - self.order.submitted)
        if error is None:
            tokens = sum(len(piece.ids) for piece in self.order.split.pieces)
            metrics.spoken(tokens, self.handle.result().seconds, self.options.rate, self.margin())

    def margin(self) -> float | None:
        """Of a stream, its speech's seconds by those from its first audio to now."""
        return None

    def _job(self, work: Callable[[], Any], deliver: Callable[[Any], None], deadline: float) -> Job:
        return Job(deadline, work, deliver, self.handle.fail, lambda: not self.handle.done)

    def _complete(self, piece: SpokenPiece, utterance: Utterance) -> None:
        self._utterances[piece.index] = utterance
        piece.spoken()
        self.open_pieces.remove(piece)

    @property
    def _is_complete(self) -> bool:
        return len(self._utterances) == len(self.order.split.pieces)

    def _put(self, segments: Sequence[Samples], utterances: Sequence[Utterance]) -> None:
        """Hand segments and the utterances that they complete to the listener, and with the last one the whole."""
        if self.first_audio is None and any(len(samples) for samples in segments):
            self.first_audio = time.monotonic()
        if self._is_complete:
            self.handle.finish(segments, utterances, self._audio())
        else:
            self.handle.put(segments, utterances)

    def _audio(self) -> Audio:
        utterances = [self._utterances[i] for i in range(len(self._utterances))]
        return self.order.voice.join(self.order.split, utterances)


class WholeSpeech(SpeechTask):
    """A request whose listener wants all of it at once. Its pieces may be decoded together."""

    def deadline(self) -> float:
        return whole_deadline(self.order.submitted, self.order.expected_seconds)

    def hungry(self) -> Iterator[SpokenPiece]:
        yield from (piece for piece in self.open_pieces if piece.stage is Stage.DECODING)
        if self.next_piece is not None:
            yield self.next_piece

    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        for piece in self.open_pieces:
            if piece.stage is not Stage.DECODED:
                continue
            item = piece.settle(self.order.voice, decoder, self.options)
            if item is not None:
                piece.stage = Stage.VOCODING
                yield self._job(partial(self._finish, piece, item), partial(self._deliver, piece), self.deadline())

    def _finish(self, piece: SpokenPiece, item: DecodedItem) -> Utterance:
        options = piece.scaled(self.options)
        return self.order.voice.finish(piece.piece.text, piece.piece.ids, item, options, piece.timings)

    def _deliver(self, piece: SpokenPiece, utterance: Utterance) -> None:
        self._complete(piece, utterance)
        if self._is_complete:
            audio = self._audio()
            self._put([audio.samples], audio.utterances)


@dataclass(frozen=True)
class CutPiece:
    """A piece of a stream that is cut into segments while it is decoded."""

    spoken: SpokenPiece
    decoded: DecodedBatch
    windows: UtteranceWindows
    is_settled: bool = False  # of UnheardSpeech: it is not decoded again


@dataclass(frozen=True)
class Segment:
    """A segment of a stream that the vocoder has got."""

    number: int  # in the order in which the listener hears them
    piece: CutPiece
    window: Window


class StreamSpeech(SpeechTask):
    """A request whose listener hears the first segment while the rest is being made. Pieces are spoken in turn."""

    def __init__(self, order: Order, frames: SegmentFrames) -> None:
        super().__init__(order)
        self._frames = frames
        self._current: CutPiece | None = None
        self._cut = self._delivered = 0  # segments
        self._samples_cut = 0
        self._ready: dict[int, tuple[Segment, Samples]] = {}  # what earlier segments hold up, by number
        self._segments: list[Samples] = []  # all that are delivered, with pauses
        self._position = 0  # samples of these
        self._own_samples: list[Samples] = []  # of the piece that is being delivered, without pauses
        self._start = 0  # sample at which that piece begins

    def deadline(self) -> float:
        seconds_before = self._samples_cut / self.handle.sampling_rate
        return segment_deadline(self.order.submitted, self.first_audio, seconds_before)

    def margin(self) -> float | None:
        if self.first_audio is None:
            return None
        return self.handle.result().seconds / max(time.monotonic() - self.first_audio, 1e-6)

    def hungry(self) -> Iterator[SpokenPiece]:
        """The current piece unless it may rest, or the next one once the current one is cut."""
        piece = self._current
        if piece is None:
            if self.next_piece is not None:
                yield self.next_piece
            return
        may_rest = is_far_ahead(piece.decoded.frame, piece.windows.frames_wanted, self._frames.later)
        if piece.spoken.stage is Stage.DECODING and not may_rest:
            yield piece.spoken

    def open_next(self, decoder: RowDecoder) -> Row:
        row = super().open_next(decoder)
        self._current = self._cut_row(self.open_pieces[-1], row)
        return row

    def _cut_row(self, spoken: SpokenPiece, row: Row) -> CutPiece:
        voice, options = self.order.voice, spoken.scaled(self.options)
        windows = UtteranceWindows(voice.acoustic, voice.vocoder, row.decoded, row.noise, options, self._frames)
        return CutPiece(spoken, row.decoded, windows)

    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        while (piece := self._current) is not None and may_cut(self._cut, self._delivered):
            if piece.spoken.stage is Stage.DECODING and piece.decoded.frame < piece.windows.frames_wanted:
                return
            with add_time(piece.spoken.timings, "postnet"):
                segment = Segment(self._cut, piece, piece.windows.next())
            job = self._job(partial(self._vocode, segment), partial(self._deliver, segment), self.deadline())
            self._count(segment)
            yield job

    def _count(self, segment: Segment) -> None:
        """Take note that the vocoder has got a segment."""
        window = segment.window
        self._cut += 1
        self._samples_cut += (window.stop - window.start) * self.order.voice.manifest.audio.hop_length
        if window.is_last:
            segment.piece.spoken.stage = Stage.VOCODING
            self._current = None

    def _vocode(self, segment: Segment) -> Samples:
        self.options.check_cancelled()
        with add_time(segment.piece.spoken.timings, "vocoder"):
            return segment.window.samples(self.order.voice.vocoder)

    def _deliver(self, segment: Segment, samples: Samples) -> None:
        """Hand over this segment and those that it held up, in order."""
        self._ready[segment.number] = segment, samples
        while (ready := self._ready.pop(self._delivered, None)) is not None:
            self._place(*ready)
            self._delivered += 1

    def _place(self, segment: Segment, samples: Samples) -> None:
        """Hand over a segment with its fades and the pauses beside it."""
        pieces, rate, window, spoken = (
            self.order.split.pieces,
            self.handle.sampling_rate,
            segment.window,
            segment.piece.spoken,
        )
        is_first = window.start == 0
        if is_first:
            self._start = self._position + int(spoken.piece.pause_before * rate)
        segments = list(place_segment(samples, rate, pieces, spoken.index, is_first, window.is_last))
        self._segments += segments
        self._position += sum(map(len, segments))
        self._own_samples.append(samples)
        completed: list[Utterance] = []
        if window.is_last:
            completed = [self._utterance(segment.piece)]
            self._complete(spoken, completed[0])
            self._own_samples = []
        self._put(segments, completed)

    def _utterance(self, piece: CutPiece) -> Utterance:
        """The utterance of a piece whose last segment is there."""
        text, ids, timings = piece.spoken.piece.text, piece.spoken.piece.ids, piece.spoken.timings
        own, item = np.concatenate(self._own_samples), piece.decoded.item(0)
        rate, quality = piece.spoken.scaled(self.options).rate, self.order.voice.judge(text, ids, item)
        utterance = utterance_of(text, ids, item, piece.windows.mel, own, rate, timings, quality)
        return replace(utterance, start=self._start)

    def _audio(self) -> Audio:
        return replace(super()._audio(), samples=np.concatenate(self._segments))


class UnheardSpeech(StreamSpeech):
    """A request whose listener wants all of it at once, spoken in segments, so that none holds a core for long.

    As nothing has been heard, a piece is decoded to its end, and again if it shows a fault, before it is cut.
    """

    def deadline(self) -> float:
        return whole_deadline(self.order.submitted, self.order.expected_seconds)

    def margin(self) -> float | None:
        return None

    def hungry(self) -> Iterator[SpokenPiece]:
        """The current piece, or the next one once the current one is cut."""
        piece = self.next_piece if self._current is None else self._current.spoken
        if piece is not None and piece.stage in (Stage.WAITING, Stage.DECODING):
            yield piece

    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        if (current := self._current) is None or current.spoken.stage is Stage.DECODING:
            return
        if not current.is_settled:
            spoken = current.spoken
            if spoken.settle(self.order.voice, decoder, self.options) is None:
                return
            assert spoken.row is not None
            self._current = replace(self._cut_row(spoken, spoken.row), is_settled=True)
        yield from super().jobs(decoder)
