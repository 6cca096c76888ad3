"""Removes a vocoder's bias, a constant noise, from its audio by spectral subtraction.

The bias is what the vocoder generates from an all-zero mel without noise. Source: NVIDIA's published denoiser, whose
transform is a convolution with a windowed Fourier basis; torch.stft and torch.istft compute the same transform.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .vocoder import Vocoder

BIAS_FRAMES = 88  # frames of the all-zero mel that the bias is measured on, as published
OVERLAP = 4  # window length / hop of the transform


class Denoiser(nn.Module):
    bias_magnitude: Tensor
    window: Tensor

    def __init__(self, vocoder: Vocoder, filter_length: int = 1024) -> None:
        """Measure the bias of `vocoder`. filter_length: samples of the Hann window."""
        super().__init__()
        self.filter_length = filter_length
        self.hop_length = filter_length // OVERLAP
        bias = vocoder.bias(BIAS_FRAMES)
        self.register_buffer("window", torch.hann_window(filter_length, device=bias.device))
        self.register_buffer("bias_magnitude", self._stft(bias).abs()[:, :, :1])

    def _stft(self, audio: Tensor) -> Tensor:
        return torch.stft(
            audio, self.filter_length, self.hop_length, window=self.window, pad_mode="reflect", return_complex=True
        )

    def forward(self, audio: Tensor, strength: float | Tensor = 0.1) -> Tensor:
        """Subtract strength times the bias's magnitudes: audio [B, S] -> audio [B, S].

        S must be a multiple of the hop and greater than filter_length / 2.
        """
        spectrum = self._stft(audio)
        magnitude = (spectrum.abs() - self.bias_magnitude * strength).clamp(min=0.0)
        return torch.istft(
            torch.polar(magnitude, spectrum.angle()), self.filter_length, self.hop_length, window=self.window
        )
