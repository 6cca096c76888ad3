"""Streamed synthesis: frames -> postnet with context -> speaking rate -> vocoder windows with context -> samples.

A segment is yielded as soon as the frames that it depends on have been decoded. With the vocoder's whole receptive
field as context, the segments together equal what `say` returns, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..text import FrontEnd
from .acoustic import AcousticModel
from .decoder import DecodedBatch, DecodedItem, StopReason
from .noise import Noise
from .options import ResolvedOptions, SegmentFrames
from .output.timestamps import TimedText, time_utterance
from .output.trimming import SilenceTrimmer
from .pieces import Piece, Split, place_segment
from .quality import Quality, SpeechFault
from .stretch import frames_needed, stretch, stretched_frames
from .vocoder import Samples, Vocoder


@dataclass(frozen=True)
class Window:
    """One segment's frames of a mel [M, F], all of them computed; `samples` may be called in any thread."""

    mel: NDArray[np.float32]
    start: int
    stop: int
    is_last: bool
    noise: Noise
    options: ResolvedOptions
    context: int | None

    def samples(self, vocoder: Vocoder) -> Samples:
        if self.start == self.stop:
            return np.zeros(0, np.float32)
        return vocoder.window(self.mel, self.start, self.stop, self.noise, self.options, self.context)


class UtteranceWindows:
    """Cuts an utterance into segments while it is being decoded: postnet, then speaking rate.

    A segment depends on `frames_wanted` frames, not on how many more have been decoded.
    """

    def __init__(
        self,
        acoustic: AcousticModel,
        vocoder: Vocoder,
        decoded: DecodedBatch,
        noise: Noise,
        options: ResolvedOptions,
        frames: SegmentFrames,
    ) -> None:
        """decoded: a batch of one, which grows."""
        self._acoustic, self._decoded = acoustic, decoded
        self._noise, self._options, self._frames = noise, options, frames
        manifest = acoustic.manifest
        self._postnet_context = manifest.decoder.postnet_frames
        self._frames_per_step = manifest.decoder.frames_per_step
        self._lookahead = vocoder.lookahead_frames(options, frames.context)
        # The mel after the postnet, [M, F], and the same at the speaking rate, in which segments are counted.
        bands, limit = manifest.audio.n_mel_channels, options.frame_limit
        self._mel = np.empty((bands, limit), np.float32)
        self._stretched = np.empty((bands, stretched_frames(limit, options.rate)), np.float32)
        self._mel_done = self._stretched_done = 0  # frames that are computed
        self._start, self._size = 0, frames.first  # of the next segment

    @property
    def frames_wanted(self) -> int:
        """Decoded frames that the next segment depends on, in whole steps; fewer if the utterance ends before."""
        seen = self._start + self._size + self._lookahead
        frames = frames_needed(seen, self._options.rate) + self._postnet_context
        steps = -(-frames // self._frames_per_step)
        return min(steps * self._frames_per_step, self._options.frame_limit)

    def next(self) -> Window:
        """The next segment, once its frames are decoded; there is at least one, which may be empty."""
        horizon = self.frames_wanted
        decoded = min(int(self._decoded.frames_decoded[0]), horizon)
        running = self._decoded.running or int(self._decoded.frames_decoded[0]) > horizon
        wanted = self._start + self._size
        self._apply_postnet(decoded, running)
        self._stretch(wanted + self._lookahead, running)
        length = stretched_frames(int(self._decoded.mel_lengths[0]), self._options.rate)
        start, stop = self._start, wanted if running else min(wanted, length)
        is_last = not running and stop == length
        self._start, self._size = stop, self._frames.after(self._size)
        mel = self._stretched[:, : self._stretched_done]
        return Window(mel, start, stop, is_last, self._noise, self._options, self._frames.context)

    @property
    def mel(self) -> NDArray[np.float32]:
        """The frames computed so far, after the postnet."""
        return self._mel[:, : self._mel_done]

    def _apply_postnet(self, decoded: int, running: bool) -> None:
        """Apply the postnet up to the last frame whose context is completely decoded."""
        ready = decoded - self._postnet_context if running else decoded
        if ready > self._mel_done:
            first = max(0, self._mel_done - self._postnet_context)
            out = self._acoustic.postnet(self._decoded.mel[0, first:decoded].T)
            self._mel[:, self._mel_done : ready] = out[:, self._mel_done - first : ready - first]
            self._mel_done = ready

    def _stretch(self, stop: int, running: bool) -> None:
        """Compute stretched frames up to `stop`, or all if no more are decoded."""
        stop = stop if running else stretched_frames(self._mel_done, self._options.rate)
        done = self._stretched_done
        if stop > done:
            self._stretched[:, done:stop] = stretch(self._mel[:, : self._mel_done], self._options.rate, done, stop)
            self._stretched_done = stop


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
        self._vocoder, self._options = vocoder, options
        self._session = acoustic.session(acoustic.encode([ids]), [noise], options)
        self._windows = UtteranceWindows(acoustic, vocoder, self._session.decoded, noise, options, frames)

    def segments(self) -> Iterator[tuple[Samples, bool]]:
        """Yield (samples, true if it is the last segment), at least once: an empty utterance has one empty segment.

        A GPU decodes the next segment beside this one's window, except beside the first, which its listener waits for.
        """
        is_last = False
        while not is_last:
            self._options.check_cancelled()
            self._session.advance(self._windows.frames_wanted - self._session.decoded.frame)
            window = self._windows.next()
            is_last = window.is_last
            if window.start > 0:
                self._session.begin(self._windows.frames_wanted - self._session.decoded.frame)
            yield window.samples(self._vocoder), is_last

    def result(self) -> DecodedItem:
        return self._session.decoded.item(0)


class SpeechStream:
    """Iterates over a text's float32 samples, nominally in [-1, 1], segment by segment. Close or drop it to stop."""

    def __init__(
        self,
        split: Split,
        sampling_rate: int,
        open_piece: Callable[[int, Piece], UtteranceStream],
        on_end: Callable[[Piece, DecodedItem], Quality],
        front_end: FrontEnd | None = None,
        trimmer: SilenceTrimmer | None = None,
    ) -> None:
        """on_end: judges a piece that has ended. front_end: the voice's, to find the times of words; None: they are not
        wanted. trimmer: leaves out the silence at both ends; None: it stays."""
        self.sampling_rate = sampling_rate  # Hz
        self.dropped = split.dropped  # what the voice has no symbol for, as in Audio
        self.stop_reasons: list[StopReason] = []  # one per finished piece
        self.words: list[TimedText] = []  # of the finished pieces, if timestamps are wanted
        self.characters: list[TimedText] = []
        self.position = 0  # samples yielded
        self._faults: list[SpeechFault] = []
        self._front_end, self._trimmer = front_end, trimmer
        self._made = 0  # samples, with the silence that is left out
        self._pieces, self._open_piece, self._on_end = split.pieces, open_piece, on_end
        self._segments = self._generate()

    def _hand_over(self, placed: Iterator[Samples], is_end: bool) -> Iterator[Samples]:
        """Yield what can be heard by now of a segment with its pauses. is_end: no samples follow."""
        for made in placed:
            self._made += len(made)
            samples = made if self._trimmer is None else self._trimmer.push(made)
            if len(samples) or self._trimmer is None:
                self.position += len(samples)
                yield samples
        if is_end and self._trimmer is not None:  # before the last piece is timed, because it may move the start
            samples = self._trimmer.push(np.zeros(0, np.float32), is_last=True)
            self.position += len(samples)
            yield samples

    def _generate(self) -> Iterator[Samples]:
        for i, piece in enumerate(self._pieces):
            utterance = self._open_piece(i, piece)
            is_first, start = True, self._made + int(piece.pause_before * self.sampling_rate)
            for samples, is_last in utterance.segments():
                placed = place_segment(samples, self.sampling_rate, self._pieces, i, is_first, is_last)
                yield from self._hand_over(placed, is_last and i == len(self._pieces) - 1)
                is_first = False
            self.stop_reasons.append(utterance.result().stop_reason)
            self._faults += self._on_end(piece, utterance.result()).faults
            if self._front_end is not None:
                stop = self._made - int(piece.pause * self.sampling_rate)
                self._time(self._front_end, piece.text, utterance.result(), start, stop)

    def _time(self, front_end: FrontEnd, text: str, item: DecodedItem, start: int, stop: int) -> None:
        """Add the times of a piece whose samples are `start` to `stop` of all that are made."""
        rate, lead = self.sampling_rate, 0 if self._trimmer is None else self._trimmer.lead
        alignment = item.alignment[: item.mel_length]
        times = time_utterance(front_end, text, alignment, (start - lead) / rate, (stop - start) / rate)
        self.words += times.words
        self.characters += times.characters

    @property
    def quality(self) -> Quality:
        """The judgement on the finished pieces."""
        return Quality(tuple(self._faults))

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
