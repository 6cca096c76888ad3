"""Requests in progress whose speech is cut into segments while it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..decoder import DecodedBatch
from ..options import SegmentFrames
from ..output.audio import Audio, Utterance
from ..output.trimming import SilenceTrimmer
from ..pieces import place_segment
from ..stream import UtteranceWindows, Window
from ..synthesizer import add_time, utterance_of
from .lanes import Job
from .policy import UNREAD_MAX, Stage, is_far_ahead, may_cut, segment_deadline
from .rows import Row, RowDecoder
from .speeches import Order, SpeechTask, SpokenPiece


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
        self._seconds_in_flight = 0.0  # of the segments that the vocoder has got and he has not
        self._ready: dict[int, tuple[Segment, NDArray[np.float32]]] = {}  # what earlier segments hold up, by number
        trims, volume = self.options.trim_silence, self.options.volume
        self._trimmer = SilenceTrimmer(self.handle.sampling_rate, volume) if trims else None
        self._segments: list[NDArray[np.float32]] = []  # all that are delivered, with pauses, if they are kept
        self._position = 0  # samples of all that are made, with the silence that is left out
        self._own_samples: list[NDArray[np.float32]] = []  # of the piece that is being delivered, without pauses
        self._start = 0  # sample at which that piece begins

    @property
    def is_resting(self) -> bool:
        return self.handle.unread_seconds > UNREAD_MAX

    def deadline(self) -> float:
        return segment_deadline(self.order.submitted, self._dry, self._seconds_in_flight)

    def margin(self) -> float | None:
        if self.first_audio is None:
            return None
        return self._seconds / max(time.monotonic() - self.first_audio, 1e-6)

    def hungry(self, max_rows: int) -> Iterator[SpokenPiece]:
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
            due = self.deadline()
            self._count(segment)
            yield self._job(partial(self._vocode, segment), partial(self._deliver, segment), due)

    def _count(self, segment: Segment) -> None:
        """Take note that the vocoder has got a segment."""
        self._cut += 1
        self._seconds_in_flight += self._seconds_of(segment)
        if segment.window.is_last:
            segment.piece.spoken.stage = Stage.VOCODING
            self._current = None

    def _seconds_of(self, segment: Segment) -> float:
        frames = segment.window.stop - segment.window.start
        return frames * self.order.voice.manifest.audio.hop_length / self.handle.sampling_rate

    def _vocode(self, segment: Segment) -> NDArray[np.float32]:
        self.options.check_cancelled()
        with add_time(segment.piece.spoken.timings, "vocoder"):
            return segment.window.samples(self.order.voice.vocoder)

    def _deliver(self, segment: Segment, samples: NDArray[np.float32]) -> None:
        """Hand over this segment and those that it held up, in order."""
        self._ready[segment.number] = segment, samples
        while (ready := self._ready.pop(self._delivered, None)) is not None:
            self._seconds_in_flight -= self._seconds_of(ready[0])
            self._place(*ready)
            self._delivered += 1

    def _place(self, segment: Segment, samples: NDArray[np.float32]) -> None:
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
        self._position += sum(map(len, segments))
        if self._trimmer is not None:
            is_end = window.is_last and spoken.index == len(pieces) - 1
            segments = [self._trimmer.push(np.concatenate(segments), is_end)]
        if self.order.keep_audio:
            self._segments += segments
        if samples_placed := sum(map(len, segments)):
            self._hear(samples_placed / rate)
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
        return replace(utterance, start=self._start - (0 if self._trimmer is None else self._trimmer.lead))

    def _audio(self) -> Audio:
        return replace(super()._audio(), samples=np.concatenate(self._segments))


class UnheardSpeech(StreamSpeech):
    """A request whose listener wants all of it at once, spoken in segments, so that none holds a core for long.

    As nothing has been heard, a piece is decoded to its end, and again if it shows a fault, before it is cut.
    """

    @property
    def is_resting(self) -> bool:
        return False

    def deadline(self) -> float:
        return self._whole_deadline()

    def margin(self) -> float | None:
        return None

    def hungry(self, max_rows: int) -> Iterator[SpokenPiece]:
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
