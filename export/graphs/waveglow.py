"""WaveGlow's graph, with folded weights and explicit precision.

`compute` is the dtype of the convolutions. The signal that flows transform, exp(s), the inverted 1x1 convolutions and
the sum of each coupling's outputs stay float32.

Dimension letters: B batch, F frames, M mel bands, G groups (of n_group samples), C channels, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.waveglow import WN, Invertible1x1Conv, WaveGlow
from .acoustic import Conv
from .flat import FlatConv
from .fold import bias_of, children, fold_skip_and_end, upsampling_as_convolution


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
