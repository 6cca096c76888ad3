"""Streamed synthesis: frames -> postnet with context -> speaking rate -> vocoder windows with context -> samples.

A segment is yielded as soon as the frames that it depends on have been decoded. With the vocoder's whole receptive
field as context, the segments together equal what `say` returns, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import numpy as np

from ..text import FrontEnd
from .acoustic import AcousticModel
from .audio import StopReason
from .decoder import DecodedItem, DecoderSession
from .noise import Noise
from .options import ResolvedOptions, SegmentFrames
from .pieces import Piece, fade_ends, silence
from .stretch import frames_needed, stretch, stretched_frames
from .timestamps import TimedText, time_utterance
from .vocoder import Samples, Vocoder


class UtteranceStream:
    """Synthesizes one utterance segment by segment."""

    def __init__(
        self,
        acoustic: AcousticModel,
        vocoder: Vocoder,
        ids: Sequence[int],
        noise: Noise,
        options: ResolvedOptions,
        frames: SegmentFrames,
    ) -> None:
        self._acoustic, self._vocoder = acoustic, vocoder
        self._noise, self._options, self._frames = noise, options, frames
        self._session: DecoderSession = acoustic.session(acoustic.encode([ids]), [noise], options)
        manifest = acoustic.manifest
        self._postnet_context = manifest.decoder.postnet_frames
        self._lookahead = vocoder.lookahead_frames(options, frames.context)
        # The mel after the postnet, [M, F], and the same at the speaking rate, in which segments are counted.
        bands, limit = manifest.audio.n_mel_channels, options.frame_limit
        self._mel = np.empty((bands, limit), np.float32)
        self._stretched = np.empty((bands, stretched_frames(limit, options.rate)), np.float32)
        self._mel_done = self._stretched_done = 0  # frames that are computed

    def segments(self) -> Iterator[tuple[Samples, bool]]:
        """Yield (samples, true if it is the last segment), at least once: an empty utterance has one empty segment."""
        start, size, rate = 0, self._frames.first, self._options.rate
        while True:
            self._options.check_cancelled()
            wanted = start + size
            seen = wanted + self._lookahead
            self._session.advance(frames_needed(seen, rate) + self._postnet_context - self._session.frame)
            self._apply_postnet()
            self._stretch(seen)
            length = stretched_frames(int(self._session.mel_lengths[0]), rate)
            stop = wanted if self._session.running else min(wanted, length)
            last = not self._session.running and stop == length
            yield self._samples(start, stop), last
            if last:
                return
            start, size = stop, self._frames.later

    def result(self) -> DecodedItem:
        return self._session.item(0)

    def _apply_postnet(self) -> None:
        """Apply the postnet up to the last frame whose context is completely decoded."""
        decoded = int(self._session.frames_decoded[0])
        ready = decoded - self._postnet_context if self._session.running else decoded
        if ready > self._mel_done:
            first = max(0, self._mel_done - self._postnet_context)
            out = self._acoustic.postnet(self._session.mel[0, first:decoded].T)
            self._mel[:, self._mel_done : ready] = out[:, self._mel_done - first : ready - first]
            self._mel_done = ready

    def _stretch(self, stop: int) -> None:
        """Compute stretched frames up to `stop`, or all if no more are decoded."""
        stop = stop if self._session.running else stretched_frames(self._mel_done, self._options.rate)
        done = self._stretched_done
        if stop > done:
            self._stretched[:, done:stop] = stretch(self._mel[:, : self._mel_done], self._options.rate, done, stop)
            self._stretched_done = stop

    def _samples(self, start: int, stop: int) -> Samples:
        if start == stop:
            return np.zeros(0, np.float32)
        mel = self._stretched[:, : self._stretched_done]
        return self._vocoder.window(mel, start, stop, self._noise, self._options, self._frames.context)


class SpeechStream:
    """Iterates over a text's float32 samples, nominally in [-1, 1], segment by segment. Close or drop it to stop."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        sampling_rate: int,
        open_piece: Callable[[int, Piece], UtteranceStream],
        on_end: Callable[[str, DecodedItem], None],
        front_end: FrontEnd | None = None,
    ) -> None:
        """front_end: the voice's, to find the times of words; None: they are not wanted."""
        self.sampling_rate = sampling_rate  # Hz
        self.stop_reasons: list[StopReason] = []  # one per finished piece
        self.words: list[TimedText] = []  # of the finished pieces, if timestamps are wanted
        self.characters: list[TimedText] = []
        self.position = 0  # samples yielded
        self._front_end = front_end
        self._pieces, self._open_piece, self._on_end = pieces, open_piece, on_end
        self._segments = self._count(self._generate())

    def _count(self, segments: Iterator[Samples]) -> Iterator[Samples]:
        for samples in segments:
            self.position += len(samples)
            yield samples

    def _generate(self) -> Iterator[Samples]:
        for i, piece in enumerate(self._pieces):
            utterance = self._open_piece(i, piece)
            if piece.pause_before > 0.0:
                yield silence(piece.pause_before, self.sampling_rate)
            is_first, start = True, self.position
            for samples, is_last in utterance.segments():
                yield fade_ends(samples, self.sampling_rate, self._pieces, i, is_first, is_last)
                is_first = False
            self.stop_reasons.append(utterance.result().stop_reason)
            self._on_end(piece.text, utterance.result())
            if self._front_end is not None:
                self._time(self._front_end, piece.text, utterance.result(), start)
            if piece.pause > 0.0:
                yield silence(piece.pause, self.sampling_rate)

    def _time(self, front_end: FrontEnd, text: str, item: DecodedItem, start: int) -> None:
        rate = self.sampling_rate
        alignment = item.alignment[: item.mel_length]
        times = time_utterance(front_end, text, alignment, start / rate, (self.position - start) / rate)
        self.words += times.words
        self.characters += times.characters

    def __iter__(self) -> SpeechStream:
        return self

    def __next__(self) -> Samples:
        return next(self._segments)

    def close(self) -> None:
        """Abandon the rest of the text; the synthesizer remains usable."""
        self._segments.close()  # type: ignore[attr-defined]

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
