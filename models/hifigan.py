"""HiFi-GAN's generator for inference: mel spectrogram -> audio, without noise.

Source: Kong et al., "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis"
(arXiv 2010.05646) and the published implementation, jik876/hifi-gan models.py. Weight norm is folded into the weights
when a checkpoint is loaded.

Dimension letters: B batch, F frames, M mel bands, C channels, L positions of a stage, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hifigan_config import EDGE_KERNEL, HiFiGANConfig, PaddingMode
from .vocoder import Vocoder

SLOPE = 0.1  # slope of every LeakyReLU except the last
LAST_SLOPE = 0.01  # slope of the LeakyReLU before the last convolution: PyTorch's default


class ResBlock(nn.Module):
    """Dilated convolutions with residuals [B, C, L] -> [B, C, L]; subclasses are numbered as in the configs."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], padding_mode: PaddingMode) -> None:
        super().__init__()
        self._shape: dict[str, Any] = {"channels": channels, "kernel": kernel, "padding_mode": padding_mode}

    def _convolutions(self, dilations: tuple[int, ...]) -> nn.ModuleList:
        return nn.ModuleList(same_conv(**self._shape, dilation=dilation) for dilation in dilations)


class ResBlock1(ResBlock):
    """Two convolutions per residual, the second one not dilated."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], padding_mode: PaddingMode) -> None:
        super().__init__(channels, kernel, dilations, padding_mode)
        self.convs1 = self._convolutions(dilations)
        self.convs2 = self._convolutions((1,) * len(dilations))

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ResBlock2(ResBlock):
    """One convolution per residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], padding_mode: PaddingMode) -> None:
        super().__init__(channels, kernel, dilations, padding_mode)
        self.convs = self._convolutions(dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated in self.convs:
            x = x + dilated(F.leaky_relu(x, SLOPE))
        return x


def same_conv(channels: int, kernel: int, padding_mode: PaddingMode, dilation: int = 1) -> nn.Conv1d:
    """Build a convolution that keeps channels and length."""
    padding = kernel // 2 * dilation
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding, padding_mode=padding_mode)


class HiFiGAN(Vocoder):
    kind = "hifigan"
    mel_scale: Tensor
    mel_shift: Tensor

    def __init__(self, config: HiFiGANConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HiFiGANConfig()
        channels, mode, edge = config.stage_channels, config.padding_mode, EDGE_KERNEL // 2
        if config.affine_mel:
            self.register_buffer("mel_scale", torch.ones(config.n_mel_channels))
            self.register_buffer("mel_shift", torch.zeros(config.n_mel_channels))
        self.conv_pre = nn.Conv1d(
            config.n_mel_channels, config.upsample_initial_channel, EDGE_KERNEL, padding=edge, padding_mode=mode
        )
        plan = zip(channels, config.upsample_rates, config.upsample_kernel_sizes, config.upsample_paddings, strict=True)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(2 * width, width, kernel, stride=rate, padding=padding)
            for width, rate, kernel, padding in plan
        )
        block = ResBlock1 if config.resblock == 1 else ResBlock2
        blocks = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
        self.resblocks = nn.ModuleList(
            block(width, kernel, dilations, mode) for width in channels for kernel, dilations in blocks
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, EDGE_KERNEL, padding=edge, padding_mode=mode)
        self.eval()

    def residual_blocks(self) -> Iterator[ResBlock1 | ResBlock2]:
        """Yield all blocks in order: those of the first stage come first."""
        for block in self.resblocks:
            yield cast("ResBlock1 | ResBlock2", block)

    @property
    def n_mel_channels(self) -> int:
        return self.config.n_mel_channels

    @property
    def hop_length(self) -> int:
        return self.config.hop_length

    @property
    def receptive_field_frames(self) -> tuple[int, int]:
        return self.config.receptive_field_frames

    @property
    def min_frames(self) -> int:
        return self.config.min_frames

    @property
    def stream_context_frames(self) -> int:
        """The whole receptive field: trained weights use all of it, and cross-fades cannot hide the difference."""
        return max(self.receptive_field_frames)

    def forward(self, mel: Tensor) -> Tensor:
        """Mel [B, M, F] -> audio [B, 1, S] in -1..1, the shape that the published generators return."""
        x = mel * self.mel_scale[:, None] + self.mel_shift[:, None] if self.config.affine_mel else mel
        x, blocks = self.conv_pre(x), len(self.config.resblock_kernel_sizes)  # [B, C, F]
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))  # [B, C / 2, L * rate]
            outputs = [block(x) for block in self.resblocks[i * blocks : (i + 1) * blocks]]
            x = sum(outputs[1:], outputs[0]) / blocks  # their mean
        return torch.tanh(self.conv_post(F.leaky_relu(x, LAST_SLOPE)))  # [B, 1, S]

    def generate(self, mel: Tensor, *z: Tensor) -> Tensor:
        audio: Tensor = self(mel, *z)
        return audio[:, 0]

    @staticmethod
    def remove_weight_norm() -> None:
        """Do nothing: weight norm is folded already. For code written for the published generators."""
