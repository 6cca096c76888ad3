"""The denoiser's graph, float32 in every precision.

Dimension letters: B batch, S samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.denoiser import OVERLAP, Denoiser


class DenoiserGraph(nn.Module):
    """The denoiser; its short-time Fourier transform is a convolution, which every backend supports.

    Real and imaginary part are scaled alike, which keeps the phase without computing an angle.
    """

    TINY = 1e-12  # avoids 0 / 0 in silent bins; far below any audible magnitude

    basis: Tensor
    inverse_basis: Tensor
    squared_window: Tensor
    bias_magnitude: Tensor

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.size = denoiser.filter_length
        self.hop = self.size // OVERLAP
        window = torch.hann_window(self.size, dtype=torch.float64)
        turns = torch.outer(torch.arange(self.size // 2 + 1), torch.arange(self.size)).double() / self.size
        angles = 2 * math.pi * turns
        fourier = torch.cat((torch.cos(angles), -torch.sin(angles)))  # [2 bins, size]
        # The inverse transform of a real signal counts every bin twice, except the first and the last.
        counts = torch.full((self.size // 2 + 1, 1), 2.0, dtype=torch.float64)
        counts[0] = counts[-1] = 1.0
        self.register_buffer("basis", (fourier * window)[:, None, :].float())
        self.register_buffer("inverse_basis", (fourier * window * counts.repeat(2, 1) / self.size)[:, None, :].float())
        self.register_buffer("squared_window", (window**2)[None, None, :].float())
        self.register_buffer("bias_magnitude", denoiser.bias_magnitude.cpu())

    def forward(self, audio: Tensor, strength: Tensor) -> Tensor:
        half = self.size // 2
        padded = F.pad(audio[:, None, :], (half, half), mode="reflect")
        spectrum = F.conv1d(padded, self.basis, stride=self.hop)  # [B, 2 bins, frames]
        real, imaginary = spectrum[:, : half + 1], spectrum[:, half + 1 :]
        magnitude = torch.sqrt(real * real + imaginary * imaginary)
        gain = torch.relu(magnitude - self.bias_magnitude * strength) / (magnitude + self.TINY)
        spectrum = torch.cat((real * gain, imaginary * gain), 1)
        signal = F.conv_transpose1d(spectrum, self.inverse_basis, stride=self.hop)
        overlap = F.conv_transpose1d(torch.ones_like(spectrum[:, :1]), self.squared_window, stride=self.hop)
        return (signal[:, :, half:-half] / overlap[:, :, half:-half])[:, 0]
