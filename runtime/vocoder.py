"""Mel -> samples: WaveGlow over windows of bounded size, and the denoiser.

z is drawn by absolute position, and a window sees WaveGlow's whole receptive field of mel frames to either side, so a
long mel gives the samples that it would give in one piece, at a memory that does not grow with its length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .backends.base import GraphRunner
from .manifest import Manifest
from .noise import Noise

WINDOW_FRAMES = 768  # new frames a window; 8.9 s at 22,050 Hz and a hop of 256


class Vocoder:
    def __init__(self, waveglow: GraphRunner, manifest: Manifest, window_frames: int = WINDOW_FRAMES) -> None:
        self.waveglow = waveglow
        self.audio = manifest.audio
        self.settings = manifest.vocoder
        self.window_frames = window_frames

    def samples(self, mel: NDArray[np.float32], noise: Noise, sigma: float) -> NDArray[np.float32]:
        """Mel [M, F] -> samples float32 [F * hop], nominally in -1..1."""
        frames = mel.shape[1]
        pieces = [
            self._window(mel, start, min(start + self.window_frames, frames), noise, sigma)
            for start in range(0, frames, self.window_frames)
        ]
        return np.concatenate(pieces)

    def _window(
        self, mel: NDArray[np.float32], start: int, stop: int, noise: Noise, sigma: float
    ) -> NDArray[np.float32]:
        hop, group = self.audio.hop_length, self.settings.group_size
        first = max(0, start - self.settings.frames_before)
        last = min(mel.shape[1], stop + self.settings.frames_after)
        z = noise.z(first * hop // group, (last - first) * hop // group, group) * np.float32(sigma)
        out = self.waveglow.run(mel=np.ascontiguousarray(mel[None, :, first:last]), z=z[None])["audio"]
        return out[0, (start - first) * hop : (stop - first) * hop]


def denoise(
    denoiser: GraphRunner, samples: NDArray[np.float32], strength: float, min_samples: int
) -> NDArray[np.float32]:
    """Take `strength` times WaveGlow's constant hum off samples [S], S a multiple of the hop."""
    padded = np.pad(samples, (0, max(0, min_samples - len(samples))))
    out = denoiser.run(audio=padded[None], strength=np.array([strength], np.float32))["audio_denoised"]
    return out[0, : len(samples)]
