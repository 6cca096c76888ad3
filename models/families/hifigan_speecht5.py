"""SpeechT5HifiGan of Hugging Face transformers: pytorch_model.bin, with config.json in the same folder.

Its mels are in log base 10, normalized by mean and scale inside the model if normalize_before is set. Both are one
affine map of natural-log mels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, shown
from .hifigan_generator import LN10, Generator, affine_mel, audio, plan
from .state import State


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if not state.has("upsampler."):
        return None
    slope = adjacent_config.get("leaky_relu_slope", 0.1)
    if slope != 0.1:
        raise CheckpointError(f"leaky_relu_slope: expected 0.1, got {shown(slope)}")
    names = {name: name.replace("upsampler.", "ups.") for name in state.tensors}
    # SpeechT5's feature extractor: its config.json states the sampling rate alone.
    settings = {"n_fft": 1024, "win_length": 1024, "fmin": 80.0, "fmax": 7600.0, **adjacent_config}
    normalizes = bool(adjacent_config.get("normalize_before", True))
    return Generator("SpeechT5", names, plan(adjacent_config), audio(settings), _conversion(normalizes))


def _conversion(normalizes: bool) -> Any:
    def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: value for name, value in tensors.items() if name not in ("mean", "scale")}
        mean, scale = tensors.get("mean", torch.zeros(1)), tensors.get("scale", torch.ones(1))
        if not normalizes:
            mean, scale = torch.zeros(1), torch.ones(1)
        return affine_mel(1.0 / (LN10 * scale), -mean / scale)(rest)

    return convert
