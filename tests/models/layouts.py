"""Converts a DeepLearningExamples checkpoint to the layout of every other family.

Keys and structure are those of the families' own code. Functions take and return the objects that torch.save writes.
"""

from __future__ import annotations

import re
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Content = dict[str, Any]
State = dict[str, Tensor]


def nvidia_tacotron2(content: Content) -> Content:
    """Content of a checkpoint of NVIDIA/tacotron2's train.py, which saves no config."""
    return {
        "iteration": 5,
        "state_dict": OrderedDict(content["state_dict"]),
        "optimizer": {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
        "learning_rate": 1e-3,
    }


def nemo_tacotron2(content: Content) -> State:
    state = {re.sub(r"^embedding\.", "text_embedding.", key): value for key, value in content["state_dict"].items()}
    return state | {"audio_to_melspec_precessor.featurizer.window": torch.hann_window(64)}


def coqui(content: Content) -> tuple[Content, Content]:
    """Return the Coqui TTS checkpoint and the DeepLearningExamples checkpoint of the same model.

    The input of Coqui's stop predictor is the decoder's state and the frame. The weights are multiples of 1/64, so that
    the equivalent gate, which is computed here, is exact in float32.
    """
    state = {key: value.clone() for key, value in content["state_dict"].items()}
    linear = "decoder.linear_projection.linear_layer"
    projection, offset = round_weights(state[f"{linear}.weight"]), round_weights(state[f"{linear}.bias"])
    bands, width = projection.shape[0], state["decoder.decoder_rnn.weight_hh"].shape[1]
    generator = torch.Generator().manual_seed(3)
    stop, bias = round_weights(torch.randn(1, width + bands, generator=generator)), torch.tensor([-1.5])
    frame_part = stop[:, width:]
    context = frame_part @ projection[:, width:]
    hidden = stop[:, :width] + frame_part @ projection[:, :width]
    state |= {f"{linear}.weight": projection, f"{linear}.bias": offset}
    state["decoder.gate_layer.linear_layer.weight"] = torch.cat((hidden, context), 1)
    state["decoder.gate_layer.linear_layer.bias"] = bias + frame_part @ offset
    theirs = {_coqui_name(key): value for key, value in state.items() if "gate_layer" not in key}
    theirs["decoder.attention.v.linear_layer.bias"] = torch.tensor([0.7])  # it does not change the softmax
    theirs["decoder.stopnet.1.linear_layer.weight"] = stop
    theirs["decoder.stopnet.1.linear_layer.bias"] = bias
    return {"config": coqui_config(), "model": theirs, "step": 5, "r": 1}, content | {"state_dict": state}


def coqui_config() -> dict[str, Any]:
    return {
        "attention_norm": "softmax",
        "attention_type": "original",
        "r": 1,
        "audio": {"sample_rate": 22050, "signal_norm": False, "log_func": "np.log", "spec_gain": 1.0},
    }


def round_weights(weights: Tensor) -> Tensor:
    """Round to multiples of 1/64."""
    return (weights * 64).round() / 64


def _coqui_name(key: str) -> str:
    for pattern, new in (
        (r"(convolutions\.\d+)\.0\.conv\.", r"\1.convolution1d."),
        (r"(convolutions\.\d+)\.1\.", r"\1.batch_normalization."),
        (r"decoder\.prenet\.layers\.", "decoder.prenet.linear_layers."),
        (r"attention_layer\.memory_layer\.", "attention.inputs_layer."),
        (r"attention_layer\.location_layer\.location_conv\.conv\.", "attention.location_layer.location_conv1d."),
        (r"attention_layer\.", "attention."),
    ):
        key = re.sub(pattern, new, key)
    return key


def fuse_conditions(state: Mapping[str, Tensor]) -> State:
    """Join all cond_layers.i of each network into one cond_layer."""
    fused = {key: value for key, value in state.items() if ".cond_layers." not in key}
    for flow in range(_count(state, r"WN\.(\d+)\.")):
        for kind in ("weight_g", "weight_v", "bias"):
            names = [f"WN.{flow}.cond_layers.{i}.{kind}" for i in range(_count(state, r"WN\.0\.in_layers\.(\d+)\."))]
            fused[f"WN.{flow}.cond_layer.{kind}"] = torch.cat([state[name] for name in names])
    return fused


def split_residuals(state: Mapping[str, Tensor]) -> State:
    """Split res_skip_layers into res_layers and skip_layers."""
    split = {key: value for key, value in state.items() if ".res_skip_layers." not in key}
    for key, value in state.items():
        if ".res_skip_layers." in key:
            channels = state[f"{key.split('.res_skip')[0]}.start.bias"].shape[0]
            if value.shape[0] > channels:
                split[key.replace("res_skip", "res")] = value[:channels]
            split[key.replace("res_skip", "skip")] = value[-channels:]
    return split


def nemo_waveglow(content: Content) -> State:
    state = {
        re.sub(r"^WN\.", "waveglow.wavenet.", key): value
        for key, value in fuse_conditions(content["state_dict"]).items()
    }
    state = {re.sub(r"^(upsample|convinv)", r"waveglow.\1", key): value for key, value in state.items()}
    inverse = torch.zeros_like(state["waveglow.convinv.0.conv.weight"])
    return state | {"waveglow.convinv.0.inv_conv.weight": inverse}


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max(int(found[1]) for key in state if (found := re.match(pattern, key)))


def nvidia_waveglow(model: nn.Module) -> Content:
    """Content of a checkpoint of NVIDIA/waveglow's train.py: the pickled model itself."""
    return {"model": model, "iteration": 5, "optimizer": {"state": {}, "param_groups": []}, "learning_rate": 1e-4}


@contextmanager
def waveglow_module(name: str = "glow") -> Iterator[types.ModuleType]:
    """Provide a module of that name with the classes of a pickled model, and remove it before the file is read."""
    module = types.ModuleType(name)
    for kind in ("WaveGlow", "WN", "Invertible1x1Conv"):
        setattr(module, kind, type(kind, (nn.Module,), {"__module__": name}))
    sys.modules[name] = module
    try:
        yield module
    finally:
        del sys.modules[name]


def waveglow_model(glow: types.ModuleType, state: Mapping[str, Tensor], stride: int = 256) -> nn.Module:
    """Build the module tree whose state_dict is `state`, with weight norm and a cached inverse as after training."""
    model: nn.Module = glow.WaveGlow()
    upsample = state["upsample.weight"]
    bands, kernel = upsample.shape[0], upsample.shape[2]
    model.upsample = nn.ConvTranspose1d(bands, bands, kernel, stride=stride)
    model.WN, model.convinv = nn.ModuleList(), nn.ModuleList()
    for flow in range(_count(state, r"WN\.(\d+)\.")):
        model.WN.append(_network(glow, state, f"WN.{flow}."))
        mixer = glow.Invertible1x1Conv()
        channels = state[f"convinv.{flow}.conv.weight"].shape[0]
        mixer.conv = nn.Conv1d(channels, channels, 1, bias=False)
        model.convinv.append(mixer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_state_dict(dict(state))
    for mixer in model.convinv:
        mixer.W_inverse = torch.zeros(2, 2, 1)  # a cached inverse that is wrong and must not be used
    return model


def _network(glow: types.ModuleType, state: Mapping[str, Tensor], prefix: str) -> nn.Module:
    network: nn.Module = glow.WN()
    for key in state:
        if not key.startswith(prefix) or not key.endswith("bias"):
            continue
        stem = key.removesuffix(".bias")
        parent, (path, _, last) = network, stem.removeprefix(prefix).rpartition(".")
        if path:
            if not hasattr(network, path):
                setattr(network, path, nn.ModuleList())
            parent = getattr(network, path)
        parent.add_module(last, _convolution(state, stem))
    return network


def _convolution(state: Mapping[str, Tensor], stem: str) -> nn.Module:
    has_weight_norm = f"{stem}.weight_v" in state
    weight = state[f"{stem}.weight_v" if has_weight_norm else f"{stem}.weight"]
    convolution = nn.Conv1d(weight.shape[1], weight.shape[0], weight.shape[2])
    if not has_weight_norm:
        return convolution
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weight_norm is deprecated, but every published WaveGlow has it
        return nn.utils.weight_norm(convolution)
