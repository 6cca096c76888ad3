"""What is done to every checkpoint's weights: float32, weight norm folded, nothing that is not a number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import CheckpointError

# Weight norm as torch.nn.utils.weight_norm stores it (g, v), and as its parametrization does.
_NORM_SUFFIXES = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def check_finite(tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> None:
    """keys: the names that the file has for them. Raises CheckpointError, naming the tensor."""
    for name, value in tensors.items():
        if value.is_complex() or not torch.isfinite(value.float()).all():
            raise CheckpointError(f"{keys[name]} holds NaN or infinity; the training run has diverged")


def fold_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """weight = g * v / |v|, the norm over all dimensions but the first (Salimans & Kingma, arXiv 1602.07868).

    Raises CheckpointError where one of the two is missing or does not fit.
    """
    folded = {name: value.float() for name, value in tensors.items()}
    for g_suffix, v_suffix in _NORM_SUFFIXES:
        for v_name in [name for name in folded if name.endswith("." + v_suffix)]:
            stem = v_name.removesuffix(v_suffix)
            v, g = folded.pop(v_name).double(), folded.pop(stem + g_suffix, None)
            if not v.ndim or g is None or g.numel() != v.shape[0]:
                got = "nothing" if g is None else list(g.shape)
                raise CheckpointError(f"{stem}{g_suffix}: expected {[*v.shape[:1], 1, 1]}, got {got}")
            norm = v.flatten(1).norm(dim=1)
            if not norm.all():
                raise CheckpointError(f"{stem}{v_suffix}: has a row of zeros, which weight norm cannot scale")
            scale = (g.double().flatten() / norm).reshape(-1, *[1] * (v.ndim - 1))
            folded[stem + "weight"] = (v * scale).float()
    return folded


def dimension(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """The size of a tensor along one axis. Raises CheckpointError if there is no such tensor or axis."""
    value = tensors.get(name)
    if value is None or value.ndim <= axis:
        found = "absent" if value is None else f"{list(value.shape)}"
        raise CheckpointError(f"{name}: the model's dimensions are read off it, and it is {found}")
    return value.shape[axis]


def count_of(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many tensors of a numbered name there are, counted from 0: pattern has {} in the number's place."""
    count = 0
    while pattern.format(count) in tensors:
        count += 1
    return count
