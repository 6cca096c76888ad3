"""HiFi-GAN's graph: folded, and with its precision written into it.

`compute` is the dtype of the convolutions. The first convolution and the last one stay float32, with the mel that
enters and the samples that leave: together they are a thousandth of the products, and rounding at the start grows most.

Dimension letters: B batch, F frames, M mel bands, C channels, L positions of a stage, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.hifigan import LAST_SLOPE, SLOPE, HiFiGAN, ResBlock1, ResBlock2
from .flat import FlatConv
from .fold import bias_of, children, transposed_as_convolution


class Upsampling(nn.Module):
    """A transposed convolution as an ordinary one, whose output channels are then dealt out along L.

    Every backend has fast kernels for it, in every precision; TensorRT has none for a transposed one in bfloat16.
    """

    def __init__(self, up: nn.ConvTranspose1d, compute: torch.dtype) -> None:
        super().__init__()
        self.channels, self.rate = up.out_channels, up.stride[0]
        weight, bias = transposed_as_convolution(up)
        taps = weight.shape[2]
        self.conv = FlatConv(weight, bias, compute, padding=taps - 1)
        first = int(up.padding[0])
        self.kept = slice(first, first - (taps - 1) * self.rate or None)  # of (L + taps - 1) * rate samples

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 1, L] -> [B, C / 2, 1, L * rate]"""
        y = self.conv(x)  # [B, C / 2 * rate, 1, L + taps - 1]
        y = y.reshape(y.shape[0], self.channels, self.rate, -1).transpose(2, 3).flatten(2)[:, :, None]
        kept: Tensor = y[..., self.kept]
        return kept


class ResBlockGraph(nn.Module):
    """Either kind of residual block: pairs of convolutions, or single ones."""

    def __init__(self, block: ResBlock1 | ResBlock2, compute: torch.dtype, padding_mode: str) -> None:
        super().__init__()

        def flat(convolutions: nn.ModuleList) -> nn.ModuleList:
            return nn.ModuleList(
                FlatConv(conv.weight, bias_of(conv), compute, conv.dilation[0], padding_mode=padding_mode)
                for conv in children(convolutions, nn.Conv1d)
            )

        if isinstance(block, ResBlock1):
            self.dilated, self.plain = flat(block.convs1), flat(block.convs2)
        else:
            self.dilated, self.plain = flat(block.convs), nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        for i, dilated in enumerate(self.dilated):
            y = dilated(F.leaky_relu(x, SLOPE))
            if len(self.plain):
                y = self.plain[i](F.leaky_relu(y, SLOPE))
            x = x + y
        return x


class HiFiGANGraph(nn.Module):
    mel_scale: Tensor
    mel_shift: Tensor

    def __init__(self, hifigan: HiFiGAN, compute: torch.dtype) -> None:
        super().__init__()
        config = self.config = hifigan.config
        self.compute = compute
        mode = config.padding_mode
        if config.affine_mel:
            self.register_buffer("mel_scale", hifigan.mel_scale[:, None])
            self.register_buffer("mel_shift", hifigan.mel_shift[:, None])
        pre, post = hifigan.conv_pre, hifigan.conv_post
        self.conv_pre = FlatConv(pre.weight, bias_of(pre), torch.float32, padding_mode=mode)
        self.conv_post = FlatConv(post.weight, bias_of(post), torch.float32, padding_mode=mode)
        self.ups = nn.ModuleList(Upsampling(up, compute) for up in children(hifigan.ups, nn.ConvTranspose1d))
        self.blocks = nn.ModuleList(ResBlockGraph(block, compute, mode) for block in hifigan.residual_blocks())

    def forward(self, mel: Tensor) -> Tensor:
        """Mel [B, M, F] -> audio [B, S]"""
        if self.config.affine_mel:
            mel = mel * self.mel_scale + self.mel_shift
        x, count = self.conv_pre(mel[:, :, None]), len(self.config.resblock_kernel_sizes)  # [B, C, 1, F]
        x = x.to(self.compute)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            total: Tensor | None = None
            for block in self.blocks[i * count : (i + 1) * count]:
                total = block(x) if total is None else total + block(x)
            assert total is not None
            x = total / count
        return torch.tanh(self.conv_post(F.leaky_relu(x.float(), LAST_SLOPE)))[:, 0, 0]
