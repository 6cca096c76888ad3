"""Folds constant algebra into the weights at export, in float64, to save it at inference."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Child = TypeVar("Child", bound=nn.Module)


def children(parent: nn.Module, kind: type[Child]) -> list[Child]:
    """Return the modules of a list, typed as `kind`, which a type checker cannot infer from nn.ModuleList."""
    return [cast(Child, child) for child in parent.children()]


def bias_of(layer: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    assert layer.bias is not None  # every convolution that is folded has one
    return layer.bias.double()


def fold_batch_norm(pair: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Merge a convolution and its batch norm in eval mode into one: weight [out, in, k] and bias [out]."""
    convolution, norm = cast(nn.Conv1d, pair[0]), cast(nn.BatchNorm1d, pair[1])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = (bias_of(convolution) - norm.running_mean.double()) * scale + norm.bias.double()
    return convolution.weight.double() * scale[:, None, None], bias


def merge_lstm_cell(cell: nn.LSTMCell) -> tuple[Tensor, Tensor]:
    """Merge both products of a cell: weight [4R, in + R] over (input, hidden state), bias [4R]; gates as in PyTorch."""
    weight = torch.cat((cell.weight_ih, cell.weight_hh), 1).double()
    return weight, cell.bias_ih.double() + cell.bias_hh.double()


def fold_location(convolution: nn.Conv1d, dense: nn.Linear) -> Tensor:
    """Merge the attention's location convolution and dense layer into one convolution: weight [A, 2, k]."""
    return torch.einsum("af,fik->aik", dense.weight.double(), convolution.weight.double())


def fold_skip_and_end(layer: nn.Conv1d, end: nn.Conv1d, channels: int, is_last: bool) -> tuple[Tensor, Tensor]:
    """Fold a coupling's `end` convolution into the output of one WN layer: weight [C + 2 n, C, 1], bias [C + 2 n].

    The first C rows are the layer's residual, the others its share of the coupling's output. That output is linear in
    the sum of the layers' skips, so each layer can compute its share directly, which saves the C x C skip convolution.
    The last layer has no residual rows, and includes the bias of `end`, which the sum contains once.
    """
    weight, bias, rows = layer.weight[:, :, 0].double(), bias_of(layer), end.weight[:, :, 0].double()
    residuals = 0 if is_last else channels
    out = rows @ bias[residuals:] + (bias_of(end) if is_last else 0.0)
    folded = torch.cat((weight[:residuals], rows @ weight[residuals:]))
    return folded[:, :, None], torch.cat((bias[:residuals], out))


def upsampling_as_convolution(upsample: nn.ConvTranspose1d, n_group: int) -> tuple[Tensor, Tensor]:
    """Convert a transposed convolution to a plain one over frames: weight [M * stride, M, taps], bias [M * stride].

    Sample s of frame t is the sum over taps j of W[:, :, s + j * stride] applied to frame t - j. Output channels are
    ordered (mel band, sample in its group, group), so that a reshape gives the conditions of WaveGlow's flows.
    """
    n_in, n_out, kernel = upsample.weight.shape
    stride = upsample.stride[0]
    taps = -(-kernel // stride)
    weight = nn.functional.pad(upsample.weight.double(), (0, taps * stride - kernel))
    # [in, out, taps, groups, n_group] -> [out, n_group, groups, in, taps], the oldest frame first
    weight = weight.reshape(n_in, n_out, taps, stride // n_group, n_group).permute(1, 4, 3, 0, 2).flip(4)
    bias = bias_of(upsample)[:, None].expand(n_out, stride)
    return weight.reshape(n_out * stride, n_in, taps), bias.reshape(-1)


def transposed_as_convolution(up: nn.ConvTranspose1d) -> tuple[Tensor, Tensor]:
    """Convert a transposed convolution to an ordinary one: weight [out * rate, in, taps], bias [out * rate].

    Over L positions padded with taps - 1 on either side, it yields for each position the rate samples of each output
    channel, in order; they include the samples that the transposed convolution's padding drops.
    """
    n_in, n_out, kernel = up.weight.shape
    rate = up.stride[0]
    taps = -(-kernel // rate)
    weight = nn.functional.pad(up.weight.double(), (0, taps * rate - kernel))
    weight = weight.reshape(n_in, n_out, taps, rate).permute(1, 3, 0, 2).flip(3)  # the oldest position first
    return weight.reshape(n_out * rate, n_in, taps), bias_of(up)[:, None].expand(n_out, rate).reshape(-1)
