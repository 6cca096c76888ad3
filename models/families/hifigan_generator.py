"""A HiFi-GAN generator as its family's function found it, and what several families share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .layout import ConvertWeights

# This package's name of each field of the plan, with the names that the families give it.
PLAN = {
    "upsample_rates": ("upsample_rates", "upsample_factors", "upsample_scales"),
    "upsample_kernel_sizes": ("upsample_kernel_sizes", "upsample_kernal_sizes"),  # ParallelWaveGAN's old spelling
    "upsample_initial_channel": ("upsample_initial_channel", "channels"),
    "resblock_kernel_sizes": ("resblock_kernel_sizes",),
    "resblock_dilation_sizes": ("resblock_dilation_sizes", "resblock_dilations"),
}
_AUDIO_NAMES = {
    "sampling_rate": ("sampling_rate", "sample_rate"),
    "hop_length": ("hop_length", "hop_size", "n_window_stride"),
    "filter_length": ("filter_length", "n_fft", "fft_size"),
    "win_length": ("win_length", "win_size", "n_window_size"),
    "mel_fmin": ("mel_fmin", "fmin", "lowfreq"),
    "mel_fmax": ("mel_fmax", "fmax", "highfreq"),
}
LN10 = math.log(10.0)


def convert_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the fourth dimension of generators trained in two dimensions; add a last bias of 0 where there is none."""
    converted = {
        name: value[..., 0] if value.ndim == 4 and value.shape[3] == 1 else value for name, value in tensors.items()
    }
    if "conv_post.weight" in converted:
        converted.setdefault("conv_post.bias", torch.zeros(1))
    return converted


@dataclass(frozen=True)
class Generator:
    family: str  # shown to the user
    names: Mapping[str, str]  # name in the state -> jik876's name; tensors of other models are left out
    config: Mapping[str, Any] = field(default_factory=dict)  # fields of HiFiGANConfig that are stated
    audio: Mapping[str, Any] = field(default_factory=dict)  # audio settings that are stated
    convert_weights: ConvertWeights = convert_weights


def plan(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of HiFiGANConfig that a family's configuration states.

    The number of the residual block's kind is not read: libraries compare it with a string or an integer, and take the
    other one for kind 2, so only the weights are sure to tell it.
    """
    found = {name: tuples(config[key]) for name, keys in PLAN.items() for key in keys if config.get(key) is not None}
    return {"padding_mode": "zeros", **found}


def tuples(value: Any) -> Any:
    return tuple(tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def audio(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the audio settings that a section states; a highest frequency of null is the Nyquist frequency."""
    found: dict[str, Any] = {}
    for name, keys in _AUDIO_NAMES.items():
        stated = [config[key] for key in keys if config.get(key) is not None]
        if stated:
            found[name] = stated[0]
    rate = found.get("sampling_rate")
    if "mel_fmax" not in found and any(key in config for key in _AUDIO_NAMES["mel_fmax"]) and rate:
        found["mel_fmax"] = rate / 2
    return found


def section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def affine_mel(scale: Tensor, shift: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Build a conversion that adds the map scale * mel + shift, with a value for each mel band or one for all.

    mel is what the acoustic model gives, in natural log.
    """

    def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        converted = convert_weights(tensors)
        bands = converted["conv_pre.weight"].shape[1] if "conv_pre.weight" in converted else 1
        if scale.numel() != shift.numel() or scale.numel() not in (1, bands):
            raise CheckpointError(
                f"mean and scale: expected one value for each of {bands} mel bands, "
                f"got {scale.numel()} and {shift.numel()}"
            )
        return converted | {
            "mel_scale": scale.flatten().float().expand(bands).clone(),
            "mel_shift": shift.flatten().float().expand(bands).clone(),
        }

    return convert
