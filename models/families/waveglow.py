"""WaveGlow as saved by NVIDIA's two repositories: pickled models of three eras, and state dicts.

The eras of NVIDIA/waveglow's glow.py differ in how a coupling's network is divided into layers:
1. November 2018: separate `res_layers` and `skip_layers` (for some days together with their successor
   `res_skip_layers`),
2. until August 2019, and in DeepLearningExamples still: `res_skip_layers` and `cond_layers`,
3. since then: one `cond_layer`, whose rows i * 2C to (i + 1) * 2C are the conditions of layer i.
All are converted to the second form. Cached inverses of the 1x1 convolutions are ignored: they were rounded, sometimes
to half precision, and are computed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..weights import count_of, dimension
from .layout import Layout
from .state import State, submodule
from .tacotron2 import unwrap

_CACHED = (".W_inverse", ".inv_conv.weight")
_ERAS = (
    ("res_layers.", "res_layers and skip_layers"),
    ("cond_layers.", "cond_layers"),
    ("cond_layer.", "one cond_layer"),
)


def read(state: State) -> Layout | None:
    """Return the layout, None if the names are not WaveGlow's.

    Raises CheckpointError for a model of glow_old.py, whose flow is different.
    """
    if not state.has("convinv."):
        return None
    if state.pickled is not None:
        _reject_old_flow(type(state.pickled).__module__)
    if state.config is not None:
        family = "NVIDIA DeepLearningExamples"
    else:
        form = "pickled model" if state.pickled is not None else "state dict"
        era = next((layers for part, layers in _ERAS if state.has("." + part)), "unknown layers")
        family = f"NVIDIA/waveglow ({form} with {era})"
    keys = {unwrap(name): key for name, key in state.keys.items() if not name.endswith(_CACHED)}
    return Layout(
        family=family,
        model="waveglow",
        tensors={unwrap(name): state.tensors[name] for name in state.tensors if not name.endswith(_CACHED)},
        keys=keys,
        config={**(state.config or {}), **_hop(state)},
        audio=state.content,
        convert_weights=convert_weights,
    )


def _reject_old_flow(module: str) -> None:
    """Raise CheckpointError for a model of glow_old.py: its names and shapes are the same, but it would give noise."""
    if module == "glow_old":
        raise CheckpointError(
            "a WaveGlow of glow_old.py, whose flow alternates the half that it transforms; "
            "use a checkpoint trained with glow.py"
        )


def _hop(state: State) -> dict[str, int]:
    """Return the upsampling stride of a pickled model as a config entry; empty if unknown."""
    upsample = None if state.pickled is None else submodule(state.pickled, "upsample")
    stride = upsample.attributes.get("stride") if upsample is not None else None
    return {"upsample_stride": stride[0]} if isinstance(stride, tuple) and len(stride) == 1 else {}


def convert_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the layers of any era to those of the second. Raises CheckpointError if their rows do not match."""
    converted = dict(tensors)
    for network in {name[: name.index(".", 3) + 1] for name in tensors if re.match(r"WN\.\d+\.", name)}:
        layers = count_of(tensors, network + "in_layers.{}.weight")
        for kind in ("weight", "bias"):
            _split_conditions(converted, network, layers, kind)
            _join_residuals(converted, network, layers, kind)
    return converted


def _split_conditions(tensors: dict[str, Tensor], network: str, layers: int, kind: str) -> None:
    fused = tensors.pop(f"{network}cond_layer.{kind}", None)
    if fused is None:
        return
    if not layers or not fused.ndim or fused.shape[0] % layers:
        raise CheckpointError(f"{network}cond_layer.{kind}: {list(fused.shape)} cannot be split into {layers} layers")
    for i, rows in enumerate(fused.chunk(layers)):
        tensors[f"{network}cond_layers.{i}.{kind}"] = rows.contiguous()


def _join_residuals(tensors: dict[str, Tensor], network: str, layers: int, kind: str) -> None:
    """Stack the rows of res_layers above those of skip_layers; the last layer has no residual."""
    for i in range(layers):
        residual = tensors.pop(f"{network}res_layers.{i}.{kind}", None)
        skip = tensors.pop(f"{network}skip_layers.{i}.{kind}", None)
        joined = f"{network}res_skip_layers.{i}.{kind}"
        if skip is None or joined in tensors:
            continue
        if residual is not None and residual.shape[1:] != skip.shape[1:]:
            raise CheckpointError(
                f"{network}res_layers.{i}.{kind}: expected rows of shape {list(skip.shape[1:])} as in skip_layers, "
                f"got {list(residual.shape[1:])}"
            )
        tensors[joined] = skip if residual is None else torch.cat((residual, skip))


def dimensions(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the fields of WaveGlowConfig that tensor shapes determine: all except the hop.

    Raises CheckpointError, naming the tensor, if one that is needed is missing.
    """
    groups = [
        dimension(tensors, f"convinv.{k}.weight", 0) for k in range(max(1, count_of(tensors, "convinv.{}.weight")))
    ]
    every = next((k for k, channels in enumerate(groups) if channels != groups[0]), None)
    return {
        "n_mel_channels": dimension(tensors, "upsample.weight", 0),
        "n_flows": len(groups),
        "n_group": groups[0],
        **({} if every is None else {"n_early_every": every, "n_early_size": groups[0] - groups[every]}),
        "upsample_kernel": dimension(tensors, "upsample.weight", 2),
        "WN_config": {
            "n_layers": count_of(tensors, "WN.0.in_layers.{}.weight"),
            "n_channels": dimension(tensors, "WN.0.start.weight", 0),
            "kernel_size": dimension(tensors, "WN.0.in_layers.0.weight", 2),
        },
    }
