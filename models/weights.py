"""Processing of every checkpoint's weights: check for NaN and Inf, convert to float32, fold weight norm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import CheckpointError

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# Names of (g, v) as stored by torch.nn.utils.weight_norm, and by the parametrization that replaces it.
_NORM_SUFFIXES = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def check_dtypes(dtypes: Mapping[str, torch.dtype], keys: Mapping[str, str]) -> None:
    """Raise CheckpointError, naming the tensor, for a dtype other than _DTYPES. keys: names in the file."""
    for name, dtype in dtypes.items():
        if dtype not in _DTYPES:
            known = ", ".join(str(known).removeprefix("torch.") for known in _DTYPES)
            raise CheckpointError(f"{keys[name]}: expected one of {known}, got {str(dtype).removeprefix('torch.')}")


def check_finite(tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> None:
    """Raise CheckpointError, naming the tensor, for NaN or Inf. keys: names in the file."""
    for name, value in tensors.items():
        if not torch.isfinite(value.float()).all():
            raise CheckpointError(
                f"{keys[name]} contains NaN or Inf: the training run has diverged; use an earlier checkpoint"
            )


def fold_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors as float32, with each pair g, v replaced by weight = g * v / |v|.

    |v| is the norm over all dimensions except the first (Salimans & Kingma, arXiv 1602.07868).
    Raises CheckpointError if a g is missing or has the wrong shape.
    """
    folded = {name: value.float() for name, value in tensors.items()}
    for g_suffix, v_suffix in _NORM_SUFFIXES:
        for v_name in [name for name in folded if name.endswith("." + v_suffix)]:
            stem = v_name.removesuffix(v_suffix)
            v, g = folded.pop(v_name).double(), folded.pop(stem + g_suffix, None)
            if v.ndim < 2 or g is None or g.numel() != v.shape[0]:
                got = "no tensor" if g is None else list(g.shape)
                raise CheckpointError(f"{stem}{g_suffix}: expected {[*v.shape[:1], 1, 1]}, got {got}")
            norm = v.flatten(1).norm(dim=1)
            if not norm.all():
                raise CheckpointError(f"{stem}{v_suffix}: a row of zeros, which weight norm cannot scale")
            scale = (g.double().flatten() / norm).reshape(-1, *[1] * (v.ndim - 1))
            folded[stem + "weight"] = (v * scale).float()
    return folded


def dimension(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """Return the size of a tensor along one axis. Raises CheckpointError if the tensor or axis does not exist."""
    value = tensors.get(name)
    if value is None or value.ndim <= axis:
        found = "absent" if value is None else f"of shape {list(value.shape)}"
        raise CheckpointError(f"{name}: needed to infer the model's dimensions; it is {found}")
    return value.shape[axis]


def count_of(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Count the tensors whose names are numbered from 0 without gaps; pattern has {} in place of the number."""
    count = 0
    while pattern.format(count) in tensors:
        count += 1
    return count
