"""A one-dimensional convolution written in two dimensions, for the vocoders' graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FlatConv(nn.Module):
    """A convolution with constant weights along L of [B, C, 1, L], with "same" padding by default.

    It is two-dimensional because ONNX Runtime's blocked layouts, the fastest on a CPU, support nothing else; TensorRT
    converts every convolution to two dimensions anyway.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        compute: torch.dtype,
        dilation: int = 1,
        padding: int | None = None,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight[:, :, None, :].to(compute))
        self.register_buffer("bias", None if bias is None else bias.to(compute))
        self.dilation = dilation
        self.padding = (weight.shape[2] - 1) // 2 * dilation if padding is None else padding
        self.reflects = padding_mode == "reflect"

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.reflects:
            x, padding = F.pad(x, (padding, padding, 0, 0), mode="reflect"), 0
        return F.conv2d(x, self.weight, self.bias, dilation=(1, self.dilation), padding=(0, padding))
