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
from numpy.typing import NDArray

from ..decoder import DecodedItem, EncoderOutput
from ..noise import Noise
from ..options import ResolvedOptions
from ..output.audio import Audio, Utterance
from ..pieces import Piece, Split
from ..synthesizer import Synthesizer, add_time
from .admission import Ticket
from .handle import SpeechHandle
from .lanes import Job
from .metrics import MetricsCounter
from .policy import Stage, may_open, runs_dry, whole_deadline
from .rows import Row, RowDecoder


@dataclass(frozen=True)
class Order:
    """A request as it was accepted."""

    voice: Synthesizer
    handle: SpeechHandle
    split: Split
    seed: int
    options: ResolvedOptions
    ticket: Ticket
    keep_audio: bool = True  # for the handle's result; false: hand over the segments alone
    submitted: float = field(default_factory=time.monotonic)

    @property
    def tokens(self) -> int:
        return sum(len(piece.ids) for piece in self.split.pieces)


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
        # Whoever schedules rows checks for cancelled requests: one of them must not end the others' chunk.
        options = replace(self.scaled(options), cancelled=None, deadline=None)
        self.row = decoder.open(self.encoded, voice.prefetch(self.noise.for_attempt(self.attempt), options), options)
        self.stage = Stage.DECODING
        return self.row

    def scaled(self, options: ResolvedOptions) -> ResolvedOptions:
        """The request's options at the piece's own rate and volume."""
        return options.scaled(self.piece.rate, self.piece.volume)

    def advanced(self, seconds: float) -> None:
        """Take note of decoder steps, of which the piece's share took so many seconds. Raises what has lost some."""
        assert self.row is not None
        if self.row.failure is not None:
            raise self.row.failure
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
        self.handle, self.options, self.client = order.handle, order.options, order.ticket.client
        self.first_audio: float | None = None  # time.monotonic()
        self._tokens_left = order.tokens
        self._seconds = 0.0  # of speech that has been handed over
        self._completed = 0  # pieces
        self._dry: float | None = None  # when a listener will have heard what he has; None: he has nothing
        self.open_pieces: list[SpokenPiece] = []  # from DECODING to VOCODING
        self._rest = (SpokenPiece(i, piece, Noise(order.seed, i)) for i, piece in enumerate(order.split.pieces))
        self.next_piece = next(self._rest, None)  # the first one that waits
        self._utterances: dict[int, Utterance] = {}

    @property
    def begun(self) -> bool:
        """True once a piece has been opened."""
        return self.next_piece is None or self.next_piece.index > 0

    @property
    def is_resting(self) -> bool:
        """True while its listener has more than enough to read."""
        return False

    @abstractmethod
    def deadline(self) -> float:
        """time.monotonic() at which the next result is needed."""

    @abstractmethod
    def hungry(self, max_rows: int) -> Iterator[SpokenPiece]:
        """Pieces that need decoder steps: open ones, and the first that waits. max_rows: that decode together."""

    @abstractmethod
    def jobs(self, decoder: RowDecoder) -> Iterator[Job]:
        """The work that has become possible; its caller may stop at any of it."""

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
        self.order.ticket.end()
        metrics.ended(self.begun, error)
        if self.first_audio is not None:
            metrics.first_audio(self.first_audio - self.order.submitted)
        if error is None:
            metrics.spoken(self._seconds, self.margin())

    def margin(self) -> float | None:
        """Of a stream, its speech's seconds by those from its first audio to now."""
        return None

    def _hear(self, seconds: float) -> None:
        """Take note of speech that the listener gets, or could get if he would take a part."""
        now = time.monotonic()
        self._dry = runs_dry(now if self._dry is None else self._dry, now, seconds)

    def _whole_deadline(self) -> float:
        dry = self.order.submitted if self._dry is None else self._dry
        return whole_deadline(dry, self._tokens_left, self.options.rate)

    def _job(self, work: Callable[[], Any], deliver: Callable[[Any], None], deadline: float) -> Job:
        return Job(deadline, self.client, work, deliver, self.handle.fail, lambda: not self.handle.done)

    def _complete(self, piece: SpokenPiece, utterance: Utterance) -> None:
        if self.order.keep_audio:
            self._utterances[piece.index] = utterance
        self._completed += 1
        self._tokens_left -= len(piece.piece.ids)
        self.order.ticket.spoken(len(piece.piece.ids))
        piece.spoken()
        self.open_pieces.remove(piece)

    @property
    def _is_complete(self) -> bool:
        return self._completed == len(self.order.split.pieces)

    def _put(self, segments: Sequence[NDArray[np.float32]], utterances: Sequence[Utterance]) -> None:
        """Hand segments and the utterances that they complete to the listener, and with the last one the whole."""
        if self.first_audio is None and any(len(samples) for samples in segments):
            self.first_audio = time.monotonic()
            self.order.ticket.heard()
        self._seconds += sum(map(len, segments)) / self.handle.sampling_rate
        if self._is_complete:
            self.handle.finish(segments, utterances, self._audio() if self.order.keep_audio else None)
        else:
            self.handle.put(segments, utterances)

    def _audio(self) -> Audio:
        utterances = [self._utterances[i] for i in range(len(self._utterances))]
        return self.order.voice.join(self.order.split, utterances, self.options)


class WholeSpeech(SpeechTask):
    """A request whose listener wants all of it at once. Its pieces may be decoded together."""

    def deadline(self) -> float:
        return self._whole_deadline()

    def hungry(self, max_rows: int) -> Iterator[SpokenPiece]:
        yield from (piece for piece in self.open_pieces if piece.stage is Stage.DECODING)
        if self.next_piece is not None and may_open(len(self.open_pieces), max_rows):
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
        self._hear(len(utterance.samples) / self.handle.sampling_rate)
        self._complete(piece, utterance)
        if self._is_complete:
            audio = self._audio()
            self._put([audio.samples], audio.utterances)
