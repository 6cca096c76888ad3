"""The vocoder, mel -> samples: WaveGlow or HiFi-GAN over windows of bounded size, and the denoiser.

z is drawn by absolute position, and a window sees mel frames on both sides, by default the vocoder's whole receptive
field. A long mel therefore gives the same samples as in one window, in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .backends.base import Backend
from .errors import BackendError
from .noise import Noise, PrefetchedNoise
from .options import ResolvedOptions

Samples = NDArray[np.float32]
Frames = tuple[int, int]  # the first, and the one after the last


class Vocoder:
    """Runs WaveGlow, and optionally the denoiser, over windows of a mel."""

    def __init__(self, backend: Backend, window_frames: int | None = None) -> None:
        """window_frames: most new frames of a window; None: the bundle's value."""
        manifest = self.manifest = backend.manifest
        self._backend = backend
        self._graph = backend.open(manifest.vocoder.kind)
        self._sizes = self._graph.window_sizes or (manifest.range("F").max,)
        self.window_frames = window_frames or manifest.synthesis.window_frames

    @property
    def padded_samples(self) -> int:
        """Samples at the end of an utterance that depend on the padding of its last window; 0 if it is not padded."""
        frames = self.manifest.vocoder.frames_after if self._graph.window_sizes else 0
        return frames * self.manifest.audio.hop_length

    def samples(self, mel: NDArray[np.float32], noise: Noise, options: ResolvedOptions) -> Samples:
        """Mel [M, F] -> samples [F * hop], nominally in [-1, 1] times the volume. Raises Cancelled."""
        frames = mel.shape[1]
        windows = []
        for start in range(0, frames, self.window_frames):
            options.check_cancelled()
            windows.append(self.window(mel, start, min(start + self.window_frames, frames), noise, options))
        return np.concatenate(windows)

    def window(
        self,
        mel: NDArray[np.float32],
        start: int,
        stop: int,
        noise: Noise,
        options: ResolvedOptions,
        context_frames: int | None = None,
    ) -> Samples:
        """Samples of frames start to stop of a mel [M, F] that begins at the utterance's first frame.

        context_frames: frames that the vocoder sees on either side, limited to the mel and to its receptive field;
        None: its whole receptive field. Raises BackendError if the audio contains NaN or Inf.
        """
        margin, (before, after) = self._denoiser_frames(options), self._context(context_frames)
        parts = plan_windows(start, stop, mel.shape[1], before + margin, after + margin, self._sizes)
        if len(parts) > 1:
            return np.concatenate([self._window(mel, *part, noise, options, context_frames) for part in parts])
        return self._window(mel, start, stop, noise, options, context_frames)

    def _window(
        self,
        mel: NDArray[np.float32],
        start: int,
        stop: int,
        noise: Noise,
        options: ResolvedOptions,
        context_frames: int | None,
    ) -> Samples:
        """The same of frames that the graph runs at once, with their context."""
        margin = self._denoiser_frames(options)
        first, last = max(0, start - margin), min(mel.shape[1], stop + margin)
        samples = self._generate(mel, first, last, noise, options.sigma, context_frames)
        if margin:
            samples = self._denoise(samples, options.denoise)
        if not np.isfinite(samples).all():
            too_small = "the range of fp16 is too small for this voice; export it with --precision bf16 or fp32"
            at_fault = "the weights or the backend are faulty; export the voice again"
            reason = too_small if self.manifest.precision == "fp16" else at_fault
            raise BackendError(f"the audio contains NaN or Inf: {reason}")
        hop = self.manifest.audio.hop_length
        wanted = samples[(start - first) * hop : (stop - first) * hop]
        return wanted if options.volume == 1.0 else wanted * np.float32(options.volume)

    def lookahead_frames(self, options: ResolvedOptions, context_frames: int | None) -> int:
        """Mel frames after a window that the window's samples depend on."""
        return self._denoiser_frames(options) + self._context(context_frames)[1]

    def prefetch(self, noise: Noise, frames: int, executor: Executor) -> Noise:
        """The same noise, with z for up to `frames` frames drawn by the executor in the background."""
        group_size = self.manifest.vocoder.group_size
        if group_size is None or self._graph.draws_noise:
            return noise
        return PrefetchedNoise(noise, group_size, frames * self.manifest.audio.hop_length // group_size, executor)

    def _generate(
        self, mel: NDArray[np.float32], start: int, stop: int, noise: Noise, sigma: float, context: int | None
    ) -> Samples:
        hop, group_size = self.manifest.audio.hop_length, self.manifest.vocoder.group_size
        before, after = self._context(context)
        first, last = max(0, start - before), min(mel.shape[1], stop + after)
        seen = mel[:, first:last]
        least = max(self.manifest.vocoder.min_frames, seen.shape[1])
        missing = self._graph.window_size(least) - seen.shape[1]
        padded = np.ascontiguousarray(np.pad(seen, ((0, 0), (0, missing)), "edge")[None])
        if group_size is None:
            audio = self._graph.run(mel=padded)["audio"]
        else:
            audio = self._graph.vocode(padded, noise, first * (hop // group_size), sigma)
        return audio[0, (start - first) * hop : (stop - first) * hop]

    def _context(self, context_frames: int | None) -> tuple[int, int]:
        """Mel frames that the vocoder sees before and after a window."""
        field = self.manifest.vocoder.frames_before, self.manifest.vocoder.frames_after
        return field if context_frames is None else (min(field[0], context_frames), min(field[1], context_frames))

    def _denoiser_frames(self, options: ResolvedOptions) -> int:
        """Frames on either side that the denoiser's transform covers; 0 if it is off."""
        return self.manifest.denoiser_frames if options.denoise > 0.0 else 0

    def _denoise(self, samples: Samples, strength: float) -> Samples:
        padded = np.pad(samples, (0, max(0, self.manifest.range("S").min - len(samples))))
        denoiser = self._backend.open("denoiser")
        out = denoiser.run(audio=padded[None], strength=np.array([strength], np.float32))["audio_denoised"]
        return out[0, : len(samples)]


def plan_windows(start: int, stop: int, frames: int, before: int, after: int, sizes: Sequence[int]) -> list[Frames]:
    """Cut frames start to stop of a mel into windows, so that the graph runs over the fewest frames in all.

    frames: of the whole mel. before, after: frames that a window sees on either side, unless the mel ends there. sizes:
    of the windows that the graph runs, ascending. A window that no size holds has one frame.
    """
    if min(frames, stop + after) - max(0, start - before) <= sizes[0]:
        return [(start, stop)]
    best = {start: (0, 0, start)}  # where a window may begin -> frames run until there, windows, the last one's start
    for position in range(start, stop):
        if position not in best:
            continue
        run, count, _ = best[position]
        first = max(0, position - before)
        for size in sizes:
            end = stop if frames - first <= size else min(stop, first + size - after)
            if size == sizes[-1]:
                end = max(end, position + 1)
            if end > position and (run + size, count + 1) < best.get(end, (math.inf, 0))[:2]:
                best[end] = (run + size, count + 1, position)
    ends = [stop]
    while ends[-1] > start:
        ends.append(best[ends[-1]][2])
    return list(pairwise(reversed(ends)))
