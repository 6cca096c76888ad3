"""The vocoder's two graphs (waveglow, denoiser), with folded weights and explicit precision.

`compute` is the dtype of the convolutions. The signal that flows transform, exp(s), the inverted 1x1 convolutions, the
sum of each coupling's outputs and the denoiser stay float32.

Dimension letters: B batch, F frames, M mel bands, G groups (of n_group samples), C channels, S samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.denoiser import OVERLAP, Denoiser
from ...models.waveglow import WN, Invertible1x1Conv, WaveGlow
from .acoustic import Conv
from .fold import bias_of, children, fold_skip_and_end, upsampling_as_convolution


class FlatConv(nn.Module):
    """A convolution with constant weights along G of [B, C, 1, G], with "same" padding.

    It is two-dimensional because ONNX Runtime's blocked layouts, the fastest on a CPU, support nothing else; TensorRT
    converts every convolution to two dimensions anyway.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, compute: torch.dtype, dilation: int = 1) -> None:
        super().__init__()
        self.register_buffer("weight", weight[:, :, None, :].to(compute))
        self.register_buffer("bias", None if bias is None else bias.to(compute))
        self.dilation = dilation
        self.padding = (weight.shape[2] - 1) // 2 * dilation

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, dilation=(1, self.dilation), padding=(0, self.padding))


class WNGraph(nn.Module):
    """A coupling's network with the skips folded into the end layer.

    Each layer has separate condition, residual and output convolutions: the outputs of merged ones would have to be
    split, which copies tensors larger than a CPU's cache.
    """

    def __init__(self, wn: WN, compute: torch.dtype) -> None:
        super().__init__()
        self.channels = wn.start.out_channels
        self.start = FlatConv(wn.start.weight, wn.start.bias, compute)
        self.in_layers, self.conditions = nn.ModuleList(), nn.ModuleList()
        self.residuals, self.outputs = nn.ModuleList(), nn.ModuleList()
        res_skip_layers = children(wn.res_skip_layers, nn.Conv1d)
        for in_layer, condition, res_skip_layer in zip(
            children(wn.in_layers, nn.Conv1d), children(wn.cond_layers, nn.Conv1d), res_skip_layers, strict=True
        ):
            self.in_layers.append(FlatConv(in_layer.weight, None, compute, in_layer.dilation[0]))
            self.conditions.append(FlatConv(condition.weight, bias_of(condition) + bias_of(in_layer), compute))
            is_last = res_skip_layer is res_skip_layers[-1]
            weight, bias = fold_skip_and_end(res_skip_layer, wn.end, self.channels, is_last)
            rows = 0 if is_last else self.channels
            if rows:
                self.residuals.append(FlatConv(weight[:rows], bias[:rows], compute))
            self.outputs.append(FlatConv(weight[rows:], bias[rows:], compute))

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Map x [B, n, 1, G] and conditions [B, M * n_group, 1, G] to shift and log scale, float32 [B, 2 n, 1, G]."""
        x = self.start(x)
        total: Tensor | None = None
        for i, (in_layer, condition, output) in enumerate(
            zip(self.in_layers, self.conditions, self.outputs, strict=True)
        ):
            a, b = (in_layer(x) + condition(conditions)).split(self.channels, 1)
            gated = torch.tanh(a) * torch.sigmoid(b)
            out = output(gated).float()
            total = out if total is None else total + out
            if i < len(self.residuals):
                x = x + self.residuals[i](gated)
        assert total is not None
        return total


class WaveGlowGraph(nn.Module):
    def __init__(self, waveglow: WaveGlow, compute: torch.dtype) -> None:
        super().__init__()
        self.config = waveglow.config
        self.compute = compute
        weight, bias = upsampling_as_convolution(waveglow.upsample, self.config.n_group)
        self.frames_before = weight.shape[2] - 1
        self.upsample = Conv(weight, bias, compute, padding=0)
        self.WN = nn.ModuleList(WNGraph(wn, compute) for wn in children(waveglow.WN, WN))
        self.inverses = nn.ModuleList(
            FlatConv(conv.inverse(), None, torch.float32) for conv in children(waveglow.convinv, Invertible1x1Conv)
        )

    def conditions(self, mel: Tensor) -> Tensor:
        """Upsample mel [B, M, F] to the conditions [B, M * n_group, 1, G] of every flow."""
        x: Tensor = self.upsample(F.pad(mel.to(self.compute), (self.frames_before, 0)))
        # [B, M * n_group, groups per frame, F]
        x = x.reshape(x.shape[0], -1, self.config.groups_per_frame, mel.shape[2])
        return x.transpose(2, 3).flatten(2)[:, :, None]

    def forward(self, mel: Tensor, z: Tensor) -> Tensor:
        config = self.config
        conditions = self.conditions(mel)
        z = z[:, :, None]  # [B, n_group, 1, G]
        x, entering = z[:, : config.n_remaining_channels], z[:, config.n_remaining_channels :]
        for k in reversed(range(config.n_flows)):
            half = config.flow_channels[k] // 2
            fixed, changed = x[:, :half], x[:, half:]
            shift_and_scale = self.WN[k](fixed.to(self.compute), conditions)
            changed = (changed - shift_and_scale[:, :half]) * torch.exp(-shift_and_scale[:, half:])
            x = self.inverses[k](torch.cat((fixed, changed), 1))
            if k % config.n_early_every == 0 and k > 0:
                x = torch.cat((entering[:, : config.n_early_size], x), 1)
                entering = entering[:, config.n_early_size :]
        return x[:, :, 0].transpose(1, 2).flatten(1)


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
