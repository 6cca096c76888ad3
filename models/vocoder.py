"""The interface of every vocoder's module; models/waveglow.py and models/hifigan.py implement it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Vocoder(nn.Module):
    """Mel [B, M, F] -> audio [B, F * hop], with noise z if the vocoder takes any."""

    kind: ClassVar[str]  # its name in checkpoints, options, graphs and manifests
    takes_noise: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.audio: dict[str, float] = {}  # audio settings of the checkpoint
        self.family = ""  # family of the checkpoint

    @property
    @abstractmethod
    def n_mel_channels(self) -> int: ...

    @property
    @abstractmethod
    def hop_length(self) -> int:
        """Samples per frame."""

    @property
    @abstractmethod
    def receptive_field_frames(self) -> tuple[int, int]:
        """Number of frames (before, after) a frame that its samples depend on."""

    @property
    def min_frames(self) -> int:
        """Shortest mel that the vocoder accepts, in frames."""
        return 1

    @property
    def stream_context_frames(self) -> int | None:
        """Mel frames that a stream's segments need on either side to sound right; None: a bundle's default."""
        return None

    def noise_shape(self, frames: int) -> tuple[int, int]:
        """Shape of one item's z [n_group, G]; only if the vocoder takes noise."""
        raise NotImplementedError(f"{self.kind} takes no noise")

    def generate(self, mel: Tensor, *z: Tensor) -> Tensor:
        """Mel [B, M, F], and z [B, n_group, G] already multiplied by sigma if it takes noise -> audio [B, F * hop]."""
        audio: Tensor = self(mel, *z)
        return audio

    @torch.no_grad()
    def bias(self, frames: int) -> Tensor:
        """Return what the vocoder generates from an all-zero mel without noise: float32 [1, frames * hop]."""
        weight = next(self.parameters())
        z = [weight.new_zeros(1, *self.noise_shape(frames))] if self.takes_noise else []
        return self.generate(weight.new_zeros(1, self.n_mel_channels, frames), *z).float()
