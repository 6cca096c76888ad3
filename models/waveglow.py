"""WaveGlow for inference: mel spectrogram and noise -> audio.

Source: Prenger et al., "WaveGlow: A Flow-based Generative Network for Speech Synthesis" (arXiv 1811.00002) and
NVIDIA's published implementation. Weight norm is folded into the weights when a checkpoint is loaded.

Dimension letters: B batch, F frames, M mel bands, G groups (of n_group samples), C channels, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import WaveGlowConfig, WNConfig
from .vocoder import Vocoder


class WN(nn.Module):
    """The network of one affine coupling: half of the channels and the mel -> scale and shift of the other half."""

    def __init__(self, n_in: int, n_conditions: int, config: WNConfig) -> None:
        super().__init__()
        channels, layers, kernel = config.n_channels, config.n_layers, config.kernel_size
        self.start = nn.Conv1d(n_in, channels, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel, dilation=2**i, padding=(kernel - 1) // 2 * 2**i)
            for i in range(layers)
        )
        self.cond_layers = nn.ModuleList(nn.Conv1d(n_conditions, 2 * channels, 1) for _ in range(layers))
        # The last layer has no residual output, only the skip half.
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers)
        )
        self.end = nn.Conv1d(channels, 2 * n_in, 1)

    def forward(self, x: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, n_in, G], conditions [B, M * n_group, G] -> log scale and shift, [B, n_in, G] each."""
        x = self.start(x)
        skips = torch.zeros_like(x)
        for in_layer, cond_layer, res_skip_layer in zip(
            self.in_layers, self.cond_layers, self.res_skip_layers, strict=True
        ):
            tanh_half, sigmoid_half = (in_layer(x) + cond_layer(conditions)).chunk(2, 1)
            res_skip = res_skip_layer(torch.tanh(tanh_half) * torch.sigmoid(sigmoid_half))
            if res_skip_layer is not self.res_skip_layers[-1]:
                residual, res_skip = res_skip.chunk(2, 1)
                x = x + residual
            skips = skips + res_skip
        shift, log_scale = self.end(skips).chunk(2, 1)
        return log_scale, shift


class Invertible1x1Conv(nn.Module):
    """Stores the weight of the training direction [C, C, 1]; inference applies its inverse."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels))[:, :, None])

    def inverse(self) -> Tensor:
        """Return the inverse [C, C, 1], computed in float64: in half precision the audio drifts."""
        inverse: Tensor = torch.linalg.inv(self.weight[:, :, 0].double())[:, :, None]
        return inverse.to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.inverse())


class WaveGlow(Vocoder):
    kind = "waveglow"
    takes_noise = True

    def __init__(self, config: WaveGlowConfig | None = None) -> None:
        super().__init__()
        self.config = config or WaveGlowConfig()
        bands = self.config.n_mel_channels
        self.upsample = nn.ConvTranspose1d(
            bands, bands, self.config.upsample_kernel, stride=self.config.upsample_stride
        )
        self.convinv = nn.ModuleList(Invertible1x1Conv(channels) for channels in self.config.flow_channels)
        self.WN = nn.ModuleList(
            WN(channels // 2, bands * self.config.n_group, self.config.WN_config)
            for channels in self.config.flow_channels
        )
        self.eval()

    @property
    def n_mel_channels(self) -> int:
        return self.config.n_mel_channels

    @property
    def hop_length(self) -> int:
        return self.config.upsample_stride

    @property
    def receptive_field_frames(self) -> tuple[int, int]:
        return self.config.receptive_field_frames

    def noise_shape(self, frames: int) -> tuple[int, int]:
        return self.config.n_group, frames * self.config.groups_per_frame

    def upsample_mel(self, mel: Tensor) -> Tensor:
        """Mel [B, M, F] -> conditions [B, M * n_group, G]: the upsampled mel of all samples of each group."""
        samples = mel.shape[2] * self.config.upsample_stride
        x = self.upsample(mel)[:, :, :samples]  # the rest is the tail of the last frames' kernels
        x = x.unflatten(2, (samples // self.config.n_group, self.config.n_group))
        conditions: Tensor = x.transpose(2, 3).flatten(1, 2)
        return conditions

    def forward(self, mel: Tensor, z: Tensor) -> Tensor:
        """Mel [B, M, F] and noise z [B, n_group, G], already multiplied by sigma -> audio [B, S] in -1..1.

        The flow starts from the first channels of z; the others enter in order between later flows.
        """
        conditions = self.upsample_mel(mel)
        remaining = self.config.n_remaining_channels
        x, entering = z[:, :remaining], z[:, remaining:]
        early = self.config.n_early_size
        for k in reversed(range(self.config.n_flows)):
            fixed, changed = x.chunk(2, 1)
            log_scale, shift = self.WN[k](fixed, conditions)
            x = self.convinv[k](torch.cat((fixed, (changed - shift) * torch.exp(-log_scale)), 1))
            if k % self.config.n_early_every == 0 and k > 0:
                x = torch.cat((entering[:, :early], x), 1)
                entering = entering[:, early:]
        return x.transpose(1, 2).flatten(1)

    @torch.no_grad()
    def infer(self, mel: Tensor, sigma: float = 1.0, z: Tensor | None = None) -> Tensor:
        """Mel [B, M, F] -> audio [B, F * hop]; z is standard normal noise [B, n_group, G], drawn if None."""
        if z is None:
            shape = mel.shape[0], *self.noise_shape(mel.shape[2])
            z = torch.randn(shape, device=mel.device, dtype=mel.dtype)
        audio: Tensor = self(mel, z * sigma)
        return audio

    @staticmethod
    def remove_weightnorm(model: WaveGlow) -> WaveGlow:
        """Return the model unchanged: weight norm is folded already. For code written for NVIDIA's modules."""
        return model
