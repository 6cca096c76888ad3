"""Reads checkpoints in the layout of NVIDIA's DeepLearningExamples, as data and never as code.

A file holds `config` (the constructor's arguments) and `state_dict`. Names come with or without the `module.` of
distributed training; weight norm is on or folded; weights are fp16 or fp32. Everything becomes float32 with weight
norm folded, under the names of this package's modules, which drop NVIDIA's wrapper names (`.conv`, `.linear_layer`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .config import Tacotron2Config, WaveGlowConfig, config_from_dict
from .errors import CheckpointError
from .tacotron2 import Tacotron2
from .waveglow import WaveGlow

AUDIO_KEYS = ("sampling_rate", "hop_length", "filter_length", "win_length", "mel_fmin", "mel_fmax", "n_mel_channels")
_WRAPPERS = re.compile(r"\.(conv|linear_layer)\.")
# Weight norm as torch.nn.utils.weight_norm stores it (g, v), and as its parametrization does.
_NORM_SUFFIXES = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))

Model = TypeVar("Model", Tacotron2, WaveGlow)


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    config: Mapping[str, Any]
    tensors: dict[str, Tensor]  # float32, under this package's names
    keys: dict[str, str]  # our name -> the name in the file, for messages
    audio: dict[str, float]  # audio settings, where the file has any


def load_tacotron2(path: str | Path) -> Tacotron2:
    """Read a Tacotron 2 checkpoint: float32 modules in eval mode; `.audio` has the file's audio settings, if any.

    Raises CheckpointError, naming the file and what does not fit.
    """
    checkpoint = read_checkpoint(path)
    model = Tacotron2(config_from_dict(Tacotron2Config, checkpoint.config, str(path)))
    return _fill(model, checkpoint)


def load_waveglow(path: str | Path) -> WaveGlow:
    """Read a WaveGlow checkpoint: float32 modules in eval mode; `.audio` has the file's audio settings, if any.

    The upsampling kernel is read off its weight; the hop is the config's, or a quarter of that kernel as published.
    Raises CheckpointError, naming the file and what does not fit.
    """
    checkpoint = read_checkpoint(path)
    config = dict(checkpoint.config)
    upsample = checkpoint.tensors.get("upsample.weight")
    if upsample is not None and upsample.ndim == 3:
        config["upsample_kernel"] = upsample.shape[2]
        config.setdefault("upsample_stride", int(checkpoint.audio.get("hop_length", max(upsample.shape[2] // 4, 1))))
    model = WaveGlow(config_from_dict(WaveGlowConfig, config, str(path)))
    return _fill(model, checkpoint)


def read_checkpoint(path: str | Path) -> Checkpoint:
    path = Path(path)
    content = _load(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{path}: not a DeepLearningExamples checkpoint: expected a dict with 'config' and 'state_dict', "
            f"got {_outline(content)}"
        )
    if not isinstance(content.get("config"), Mapping):
        raise CheckpointError(
            f"{path}: has a state_dict but no 'config' with the model's dimensions; add the training run's config"
        )
    keys = {_our_name(str(key)): str(key) for key in content["state_dict"]}
    tensors = {_our_name(str(key)): value for key, value in content["state_dict"].items()}
    tensors = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    _check_finite(path, tensors, keys)
    return Checkpoint(path, content["config"], _fold_weight_norm(path, tensors), keys, _audio_settings(content))


def _load(path: Path) -> Any:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}; give the path of a checkpoint, or use --demo")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, and each means the same to the user
        # torch names the class that it refuses; a file that is no pickle at all fails at an operand instead.
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            reason = "it holds Python objects, which are not unpickled because they could run code"
        else:
            reason = "it is truncated, or no PyTorch checkpoint"
        raise CheckpointError(f"{path}: cannot be read: {reason}; save it again as config and state_dict") from error


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return "a dict with " + (", ".join(repr(str(key)) for key in list(content)[:6]) or "nothing in it")
    return type(content).__name__


def _our_name(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return _WRAPPERS.sub(".", key.removeprefix("1."))


def _check_finite(path: Path, tensors: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {keys[name]} should be a tensor, got {type(value).__name__}")
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {keys[name]} holds NaN or infinity; the training run has diverged")


def _fold_weight_norm(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """weight = g * v / |v|, the norm over all dimensions but the first (Salimans & Kingma, arXiv 1602.07868)."""
    folded = {name: value.float() for name, value in tensors.items()}
    for g_suffix, v_suffix in _NORM_SUFFIXES:
        for v_name in [name for name in folded if name.endswith("." + v_suffix)]:
            stem = v_name.removesuffix(v_suffix)
            v, g = folded.pop(v_name).double(), folded.pop(stem + g_suffix, None)
            if g is None or g.numel() != v.shape[0]:
                got = "nothing" if g is None else list(g.shape)
                raise CheckpointError(f"{path}: {stem}{g_suffix}: expected {[v.shape[0], 1, 1]}, got {got}")
            norm = v.flatten(1).norm(dim=1)
            if not norm.all():
                raise CheckpointError(f"{path}: {stem}{v_suffix}: has a row of zeros, which weight norm cannot scale")
            scale = (g.double().flatten() / norm).reshape(-1, *[1] * (v.ndim - 1))
            folded[stem + "weight"] = (v * scale).float()
    return folded


def _audio_settings(content: Mapping[str, Any]) -> dict[str, float]:
    config = content["config"]
    places = (config, config.get("audio"), content.get("data_config"), content.get("audio"))
    found: dict[str, float] = {}
    for place in places:
        if isinstance(place, Mapping):
            numbers = {key: place[key] for key in AUDIO_KEYS if isinstance(place.get(key), (int, float))}
            found |= {key: value for key, value in numbers.items() if math.isfinite(value)}
    return found


def _fill(model: Model, checkpoint: Checkpoint) -> Model:
    state = model.state_dict()
    expected: dict[str, Tensor] = {
        name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
    }
    misfits = [
        f"{checkpoint.keys.get(name, name)} should be {_shape(expected.get(name))}, "
        f"is {_shape(checkpoint.tensors.get(name))}"
        for name in [*expected, *(name for name in checkpoint.tensors if name not in expected)]
        if _shape(expected.get(name)) != _shape(checkpoint.tensors.get(name))
    ]
    if misfits:
        more = f"; and {len(misfits) - 4} more" if len(misfits) > 4 else ""
        raise CheckpointError(
            f"{checkpoint.path}: its tensors do not fit {type(model).__name__} as its config states it: "
            + "; ".join(misfits[:4])
            + more
        )
    model.load_state_dict(checkpoint.tensors, strict=False)
    model.audio = checkpoint.audio
    return model.eval()


def _shape(value: Tensor | None) -> str:
    return "absent" if value is None else str(list(value.shape))
