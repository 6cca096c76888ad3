"""What may differ from request to request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled, RequestError
from .manifest import Manifest
from .planning import WINDOW_FRAMES


@dataclass(frozen=True)
class SpeechOptions:
    """Options of one request; None takes the bundle's own value."""

    sigma: float | None = None  # standard deviation of WaveGlow's noise: lower is smoother, higher livelier
    denoise: float = 0.0  # how many times WaveGlow's hum is subtracted; 0 leaves the denoiser out
    gate_threshold: float | None = None  # probability above which an utterance ends
    max_frames: int | None = None  # frame limit of an utterance
    retries: int = 0  # how often an utterance that reaches the frame limit is spoken anew, with other noise
    attention_stop: bool = False  # also end where the attention has reached the last token and stays there
    cancelled: Callable[[], bool] | None = None  # asked at every chunk boundary; true abandons the request

    def __post_init__(self) -> None:
        for name in ("sigma", "denoise"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise RequestError(f"{name}: expected a number from 0 up, got {value}")
        if self.gate_threshold is not None and not 0.0 < self.gate_threshold < 1.0:
            raise RequestError(f"gate threshold: expected a probability between 0 and 1, got {self.gate_threshold}")
        if self.retries < 0:
            raise RequestError(f"retries: expected 0 or more, got {self.retries}")

    def frame_limit(self, manifest: Manifest) -> int:
        """Frames of an utterance at most, in whole decoder steps. Raises RequestError beyond the bundle's limits."""
        step, limit = manifest.decoder.frames_per_step, manifest.decoder.max_frames
        frames = limit if self.max_frames is None else self.max_frames
        if not step <= frames <= limit:
            raise RequestError(
                f"max frames: expected {step} to {limit} (this bundle's limit), got {frames}; "
                "a longer one needs export-onnx --max-frames"
            )
        return frames - frames % step

    def gate_logit(self, manifest: Manifest) -> float:
        """The gate threshold as a logit."""
        threshold = manifest.decoder.gate_threshold if self.gate_threshold is None else self.gate_threshold
        return math.log(threshold / (1.0 - threshold))

    def noise_sigma(self, manifest: Manifest) -> float:
        return manifest.vocoder.sigma if self.sigma is None else self.sigma

    def check_cancelled(self) -> None:
        """Raises Cancelled where the caller has had enough."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("the request was cancelled")


@dataclass(frozen=True)
class StreamOptions:
    """How speech is cut into chunks while it is made; docs/streaming.md has the measurements behind the defaults."""

    first_chunk_frames: int = 8  # small, for an early first sound
    chunk_frames: int = 64  # of every later chunk
    context_frames: int | None = 12  # mel frames that WaveGlow sees to either side; None: its whole receptive field

    def __post_init__(self) -> None:
        for name, least in (("first_chunk_frames", 1), ("chunk_frames", 1), ("context_frames", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RequestError(f"{name.replace('_', ' ')}: expected {least} or more, got {value}")
        largest = max(self.first_chunk_frames, self.chunk_frames)
        if largest > WINDOW_FRAMES:
            raise RequestError(f"chunk frames: expected at most {WINDOW_FRAMES}, a vocoder window, got {largest}")
