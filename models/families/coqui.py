"""Coqui TTS and Mozilla TTS: Tacotron 2 under different names, among many variants with other architectures.

The input of the stop predictor is the decoder's state h and the new frame P [h, c] + b. Both maps are linear, so the
stop predictor can be folded into NVIDIA's gate, whose input is [h, c]. The attention's bias is dropped, because it does
not change the softmax. Settings that the weights do not determine come from the configuration: in the file, or in a
config.json next to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, shown
from ..weights import dimension
from .hifigan_generator import audio, section
from .layout import Layout, rename
from .state import State
from .tacotron2 import unwrap

_RENAMED = (
    (re.compile(r"\.convolution1d\."), ".0."),
    (re.compile(r"\.batch_normalization\."), ".1."),
    (re.compile(r"^decoder\.prenet\.linear_layers\."), "decoder.prenet.layers."),
    (re.compile(r"^decoder\.attention\.inputs_layer\."), "decoder.attention_layer.memory_layer."),
    (re.compile(r"^decoder\.attention\."), "decoder.attention_layer."),
    (re.compile(r"\.location_conv1d\."), ".location_conv."),
    (re.compile(r"^decoder\.stopnet\.1\."), "decoder.stopnet."),
)
# Name parts of tensors that only other architectures have -> the feature that they belong to.
_UNSUPPORTED = {
    "gst_layer": "global style tokens",
    "capacitron_vae": "Capacitron",
    "speaker_embedding": "several speakers",
    "speaker_projection": "several speakers",
    "language_embedding": "several languages",
    "decoder_backward": "a second, backward decoder",
    "coarse_decoder": "a second, coarse decoder",
    "prenet.linear_layers.0.batch_normalization": "a prenet with batch normalization",
    "attention.ta.": "a transition agent",
    "attention.N_a": "Graves attention",
    "attention.key_layer": "dynamic convolution attention",
    "cbhg": "Tacotron's CBHG",
}
# Settings that the configuration must state, because Coqui's defaults are different: those of NVIDIA's architecture,
# and mels in natural log, as WaveGlow expects.
_REQUIRED = {
    "attention_norm": "softmax",
    "audio.signal_norm": False,
    "audio.log_func": "np.log",
    "audio.spec_gain": 1.0,
}
# Settings that are checked only if stated, because older versions had no alternative.
_SAME_IF_STATED = {
    "attention_type": "original",
    "use_forward_attn": False,
    "windowing": False,
    "location_attn": True,
    "prenet_type": "original",
    "prenet_dropout": True,
    "r": 1,  # with several frames per step, its prenet gets only the last one, NVIDIA's all of them
}


def read(state: State, read_adjacent_config: Callable[[], Mapping[str, Any]]) -> Layout | None:
    """Return the layout, None if the names are not Coqui's.

    read_adjacent_config: reads config.json from the file's folder, empty if there is none.
    Raises CheckpointError, naming the first difference, if the architecture differs from NVIDIA's.
    """
    if not state.has(".convolution1d.", "decoder.stopnet.", "cbhg"):
        return None
    for part, feature in _UNSUPPORTED.items():
        if state.has(part):
            raise CheckpointError(
                f"a Coqui TTS model with {feature}, which is not supported: NVIDIA's Tacotron 2 does not have it"
            )
    config = state.config or read_adjacent_config()
    _check_settings(config)
    settings = section(config, "audio")
    bands = {} if settings.get("num_mels") is None else {"n_mel_channels": settings["num_mels"]}
    names = {name: unwrap(rename(name, _RENAMED)) for name in state.tensors}
    return Layout(
        family="Coqui TTS",
        model="tacotron2",
        tensors={new: state.tensors[name] for name, new in names.items()},
        keys={new: state.keys[name] for name, new in names.items()},
        audio={"audio": audio(settings) | bands},
        convert_weights=convert_weights,
    )


def _check_settings(config: Mapping[str, Any]) -> None:
    for name, same in {**_REQUIRED, **_SAME_IF_STATED}.items():
        value = _look_up(config, name)
        if value is None and name in _REQUIRED:
            raise CheckpointError(
                f"a Coqui TTS model whose config does not state {name}; put its config.json into the same folder"
            )
        if value is not None and value != same:
            raise CheckpointError(
                f"a Coqui TTS model with an unsupported {name}: expected {same!r} as in NVIDIA's, got {shown(value)}"
            )


def _look_up(config: Mapping[str, Any], name: str) -> Any:
    """Return the value at a dotted name, None if there is none."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def convert_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fold the stop predictor into a gate over [h, c], in float64. Raises CheckpointError if shapes do not match."""
    converted = dict(tensors)
    converted.pop("decoder.attention_layer.v.bias", None)
    decoder = "decoder.{}.{}".format
    weight, bias = converted.pop(decoder("stopnet", "weight"), None), converted.pop(decoder("stopnet", "bias"), None)
    projection = tensors.get(decoder("linear_projection", "weight"))
    offset = tensors.get(decoder("linear_projection", "bias"))
    if weight is None or bias is None or projection is None or offset is None:
        raise CheckpointError("decoder.stopnet or decoder.linear_projection is missing")
    width = dimension(tensors, "decoder.decoder_rnn.weight_hh", 1)
    if weight.ndim != 2 or projection.ndim != 2 or len(weight) != 1 or weight.shape[1] != width + projection.shape[0]:
        raise CheckpointError(
            "decoder.stopnet.1.weight: expected one column per value of the decoder's state and of a frame, "
            f"got {list(weight.shape)}"
        )
    state_part, frame_part = weight[:, :width].double(), weight[:, width:].double()
    gate = frame_part @ projection.double()
    gate[:, :width] += state_part
    converted[decoder("gate_layer", "weight")] = gate.float()
    converted[decoder("gate_layer", "bias")] = (bias.double() + frame_part @ offset.double()).float()
    return converted
