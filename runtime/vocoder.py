"""Mel -> samples: WaveGlow over windows of bounded size, and the denoiser.

z is drawn by absolute position, and a window sees mel frames to either side, by default all that WaveGlow's receptive
field reaches; so a long mel gives the samples that it would give in one piece, at a memory that does not grow with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .backends.base import Backend
from .errors import RequestError
from .manifest import Manifest
from .noise import Noise
from .options import SpeechOptions
from .planning import WINDOW_FRAMES, denoiser_frames

Samples = NDArray[np.float32]


class Vocoder:
    def __init__(self, backend: Backend, manifest: Manifest, window_frames: int = WINDOW_FRAMES) -> None:
        self.manifest = manifest
        self.window_frames = window_frames
        self._waveglow = backend.open("waveglow")
        self._denoiser = backend.open("denoiser")

    def samples(self, mel: NDArray[np.float32], noise: Noise, options: SpeechOptions) -> Samples:
        """Mel [M, F] -> samples [F * hop], nominally in -1..1. Raises Cancelled."""
        frames = mel.shape[1]
        pieces = []
        for start in range(0, frames, self.window_frames):
            options.check_cancelled()
            pieces.append(self.window(mel, start, min(start + self.window_frames, frames), noise, options))
        return np.concatenate(pieces)

    def window(
        self,
        mel: NDArray[np.float32],
        start: int,
        stop: int,
        noise: Noise,
        options: SpeechOptions,
        context_frames: int | None = None,
    ) -> Samples:
        """Samples of frames start to stop of a mel [M, F] that begins at the utterance's first frame.

        context_frames: how many frames are seen to either side where the mel has them, at most and by default
        WaveGlow's receptive field. Raises RequestError if the samples are no numbers.
        """
        margin = self._denoiser_frames(options)
        first, last = max(0, start - margin), min(mel.shape[1], stop + margin)
        samples = self._waveglow_window(mel, first, last, noise, options.noise_sigma(self.manifest), context_frames)
        if margin:
            samples = self._denoised(samples, options.denoise)
        if not np.isfinite(samples).all():
            too_small = "fp16 does not suffice for this voice; export it with --precision bf16 or fp32"
            at_fault = "the voice's weights or its engine are at fault; export it again"
            reason = too_small if self.manifest.precision == "fp16" else at_fault
            raise RequestError(f"the audio holds NaN or infinity: {reason}")
        hop = self.manifest.audio.hop_length
        return samples[(start - first) * hop : (stop - first) * hop]

    def _waveglow_window(
        self, mel: NDArray[np.float32], start: int, stop: int, noise: Noise, sigma: float, context: int | None
    ) -> Samples:
        hop, settings = self.manifest.audio.hop_length, self.manifest.vocoder
        before, after = (
            field if context is None else min(field, context)
            for field in (settings.frames_before, settings.frames_after)
        )
        first, last = max(0, start - before), min(mel.shape[1], stop + after)
        groups = hop // settings.group_size  # a frame
        z = noise.z(first * groups, (last - first) * groups, settings.group_size) * np.float32(sigma)
        audio = self._waveglow.run(mel=np.ascontiguousarray(mel[None, :, first:last]), z=z[None])["audio"]
        return audio[0, (start - first) * hop : (stop - first) * hop]

    def lookahead_frames(self, options: SpeechOptions, context_frames: int | None) -> int:
        """Frames of mel after a window that its samples depend on."""
        field = self.manifest.vocoder.frames_after
        return self._denoiser_frames(options) + (field if context_frames is None else min(field, context_frames))

    def _denoiser_frames(self, options: SpeechOptions) -> int:
        """Frames to either side that the denoiser's transform reaches, if it is used."""
        return denoiser_frames(self.manifest) if options.denoise > 0.0 else 0

    def _denoised(self, samples: Samples, strength: float) -> Samples:
        padded = np.pad(samples, (0, max(0, self.manifest.range("S").min - len(samples))))
        out = self._denoiser.run(audio=padded[None], strength=np.array([strength], np.float32))["audio_denoised"]
        return out[0, : len(samples)]
