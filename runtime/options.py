"""Options of one request, and their resolution against a bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ..text import Lexicon
from .bundle.manifest import ATTENTION_PATIENCE, STRENGTH_MAX, Ending, Manifest
from .errors import Cancelled, DeadlineExceeded, RequestError

RETRIES = 2  # of a bad utterance, unless a request says otherwise
RETRIES_MAX = 100
SERVED_RETRIES_MAX = 3  # most that a request may ask of a server, unless it is told otherwise
RATE_MIN, RATE_MAX = 0.5, 2.0
VOLUME_MAX = 4.0  # 12 dB
SENTENCE_SILENCE_MAX = 10.0  # seconds


@dataclass(frozen=True)
class SpeechOptions:
    """Options of one request; None: the bundle's value. Raises RequestError, or TextError for the lexicon."""

    sigma: float | None = None  # standard deviation of WaveGlow's noise: lower is smoother, higher livelier
    denoise: float = 0.0  # denoiser strength; 0: off
    gate_threshold: float | None = None  # probability above which an utterance ends
    max_frames: int | None = None  # frame limit of an utterance
    # How often an utterance whose attention shows a fault is decoded again, with new noise; the best try is kept. None:
    # RETRIES, for a voice whose sentences were measured at export. A stream takes none.
    retries: int | None = None
    # Also end an utterance when the attention has reached the last token and stays there, or when it is far longer than
    # the voice's sentences; None: for a voice whose sentences were measured at export. False: its gate or
    # max_frames ends it, as in NVIDIA's inference.
    attention_stop: bool | None = None
    rate: float = 1.0  # speaking rate: 2 is twice as fast, at the same pitch
    volume: float = 1.0  # factor of the samples: 0.5 is 6 dB quieter
    # Seconds of silence after each sentence but the last; every sentence is then spoken by itself. None: a text is cut
    # only where it exceeds the voice's token limit, with pauses by punctuation.
    sentence_silence: float | None = None
    trim_silence: bool = False  # leave out the silence at both ends of the speech
    lexicon: Lexicon | Mapping[str, str] | None = None  # words of this request, and how they are said
    ssml: bool = False  # the text is an SSML document
    # Tokens ahead of the furthest one so far that the attention may see; those before it are masked too. None: all.
    attention_window: int | None = None
    # Called before every decoder chunk and vocoder window; returning true cancels the request.
    cancelled: Callable[[], bool] | None = None
    deadline: float | None = None  # time.monotonic() at which the request is abandoned; checked as often

    def __post_init__(self) -> None:
        for name in ("sigma", "denoise"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= STRENGTH_MAX:
                raise RequestError(f"{name}: expected a number from 0 to {STRENGTH_MAX:g}, got {value}")
        for name, value, least, most in (
            ("rate", self.rate, RATE_MIN, RATE_MAX),
            ("volume", self.volume, 0.0, VOLUME_MAX),
            ("sentence silence", self.sentence_silence or 0.0, 0.0, SENTENCE_SILENCE_MAX),
        ):
            if not least <= value <= most:
                unit = " seconds" if name == "sentence silence" else ""
                raise RequestError(f"{name}: expected a number from {least:g} to {most:g}{unit}, got {value}")
        if self.gate_threshold is not None and not 0.0 < self.gate_threshold < 1.0:
            raise RequestError(f"gate threshold: expected a probability between 0 and 1, got {self.gate_threshold}")
        if self.lexicon is not None and not isinstance(self.lexicon, Lexicon):
            object.__setattr__(self, "lexicon", Lexicon(self.lexicon))
        if self.retries is not None and not 0 <= self.retries <= RETRIES_MAX:
            raise RequestError(f"retries: expected 0 to {RETRIES_MAX}, got {self.retries}")
        if self.attention_window is not None and self.attention_window < 1:
            raise RequestError(f"attention window: expected 1 token or more, got {self.attention_window}")

    def changed(self, changes: Mapping[str, Any]) -> SpeechOptions:
        """The same options with some changed. Raises TypeError for an unknown name, RequestError for a value."""
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                raise TypeError(f"{name}: not a speech option; the options are {', '.join(names)}")
        return replace(self, **changes)

    def check_stream(self) -> None:
        """Raise RequestError for options that a stream cannot have."""
        if self.retries:
            raise RequestError("retries: a stream cannot take back what has been heard; use say, or retries=0")

    def resolve(self, manifest: Manifest) -> ResolvedOptions:
        """Fill in the bundle's values. Raises RequestError for a value outside the bundle's limits."""
        if self.sigma is not None and manifest.vocoder.group_size is None:
            raise RequestError(
                f"sigma: this voice's vocoder is {manifest.vocoder.title}, which takes no noise; "
                f"leave sigma out, got {self.sigma:g}"
            )
        ending = manifest.decoder.ending
        retries = RETRIES if ending is not None else 0
        threshold = manifest.decoder.gate_threshold if self.gate_threshold is None else self.gate_threshold
        return ResolvedOptions(
            sigma=manifest.vocoder.sigma if self.sigma is None else self.sigma,
            denoise=self.denoise,
            gate_logit=math.log(threshold / (1.0 - threshold)),
            frame_limit=self._frame_limit(manifest),
            retries=retries if self.retries is None else self.retries,
            attention_patience=self._attention_patience(manifest),
            ending=None if self.attention_stop is False else ending,
            attention_window=self.attention_window,
            rate=self.rate,
            volume=self.volume,
            trim_silence=self.trim_silence,
            cancelled=self.cancelled,
            deadline=self.deadline,
        )

    def _attention_patience(self, manifest: Manifest) -> int | None:
        if self.attention_stop is False:
            return None
        if manifest.decoder.ending is not None:
            return manifest.decoder.ending.attention_patience
        return ATTENTION_PATIENCE if self.attention_stop else None

    def _frame_limit(self, manifest: Manifest) -> int:
        step, limit = manifest.decoder.frames_per_step, manifest.decoder.max_frames
        frames = limit if self.max_frames is None else self.max_frames
        if not step <= frames <= limit:
            raise RequestError(
                f"max frames: expected {step} to {limit} (this bundle's limit), got {frames}; "
                "a longer one needs export-onnx --max-frames"
            )
        return frames - frames % step


@dataclass(frozen=True)
class ResolvedOptions:
    """The options of one request, with the bundle's values filled in, for the decoder and the vocoder."""

    sigma: float  # standard deviation of WaveGlow's noise; 0 if the vocoder takes none
    denoise: float  # denoiser strength; 0: off
    gate_logit: float  # gate threshold as a logit
    frame_limit: int  # most frames of any utterance, in whole decoder steps
    retries: int
    attention_patience: int | None  # frames on the last token that end an utterance; None: no number does
    ending: Ending | None  # what limits an utterance's frames by its tokens; None: nothing
    attention_window: int | None  # tokens ahead of the furthest one so far that the attention may see; None: all
    rate: float  # speaking rate
    volume: float  # factor of the samples
    trim_silence: bool  # leave out the silence at both ends of the speech
    cancelled: Callable[[], bool] | None
    deadline: float | None = None  # time.monotonic()

    def scaled(self, rate: float, volume: float) -> ResolvedOptions:
        """The options of a piece that is spoken at so many times the request's rate and volume."""
        if rate == volume == 1.0:
            return self
        scaled = min(max(self.rate * rate, RATE_MIN), RATE_MAX)
        return replace(self, rate=scaled, volume=min(self.volume * volume, VOLUME_MAX))

    def frame_limit_of(self, tokens: int, frames_per_step: int) -> int:
        """Most frames of an utterance of so many tokens, in whole decoder steps, at least one."""
        limit = self.frame_limit if self.ending is None else min(self.frame_limit, self.ending.frame_limit(tokens))
        return max(limit - limit % frames_per_step, frames_per_step)

    def check_cancelled(self) -> None:
        """Raise Cancelled if the request's `cancelled` function returns true, DeadlineExceeded after its deadline."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("the request was cancelled")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlineExceeded("the request took too long and was abandoned; send a shorter text, or fewer retries")


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is cut into segments; docs/streaming.md has the measurements behind the bundle's defaults."""

    first_segment_frames: int | None = None  # frames of the first segment; None: the bundle's value
    segment_frames: int | None = None  # frames that later segments grow to, by doubling; None: the bundle's value
    # Mel frames that the vocoder sees on either side of a segment; None: its whole receptive field.
    context_frames: int | Literal["bundle"] | None = "bundle"

    def __post_init__(self) -> None:
        for name, least in (("first_segment_frames", 1), ("segment_frames", 1), ("context_frames", 0)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise RequestError(f"{name.replace('_', ' ')}: expected {least} or more, got {value}")

    def resolve(self, manifest: Manifest) -> SegmentFrames:
        """Fill in the bundle's values. Raises RequestError for a segment longer than a vocoder window."""
        settings = manifest.synthesis
        frames = SegmentFrames(
            settings.first_segment_frames if self.first_segment_frames is None else self.first_segment_frames,
            settings.segment_frames if self.segment_frames is None else self.segment_frames,
            settings.context_frames if self.context_frames == "bundle" else self.context_frames,
        )
        largest = max(frames.first, frames.later)
        if largest > settings.window_frames:
            raise RequestError(
                f"segment frames: expected at most {settings.window_frames}, a vocoder window, got {largest}"
            )
        return frames


@dataclass(frozen=True)
class SegmentFrames:
    """Sizes of a stream's segments, in frames: each is twice the one before it, up to `later`.

    So a segment's samples last about as long as the next one takes, and the first comes early.
    """

    first: int
    later: int
    context: int | None  # frames on either side of a segment; None: the vocoder's whole receptive field

    def after(self, size: int) -> int:
        """Return the size of the segment after one of this size."""
        return min(2 * size, self.later)
