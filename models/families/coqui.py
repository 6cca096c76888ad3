"""Coqui TTS and Mozilla TTS: a Tacotron 2 under names of its own, among many variants that are another architecture.

The stop predictor sees the decoder's state h and the frame P [h, c] + b that it has just made, and both are linear:
its weights fold into those of NVIDIA's gate, which sees [h, c]. The attention's bias is dropped, since a softmax does
not see it. What the weights do not show stands in the configuration: in the file, or in config.json beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..weights import dimension
from .layout import Layout
from .state import State
from .tacotron2 import unwrapped

_RENAMED = (
    (re.compile(r"\.convolution1d\."), ".0."),
    (re.compile(r"\.batch_normalization\."), ".1."),
    (re.compile(r"^decoder\.prenet\.linear_layers\."), "decoder.prenet.layers."),
    (re.compile(r"^decoder\.attention\.inputs_layer\."), "decoder.attention_layer.memory_layer."),
    (re.compile(r"^decoder\.attention\."), "decoder.attention_layer."),
    (re.compile(r"\.location_conv1d\."), ".location_conv."),
    (re.compile(r"^decoder\.stopnet\.1\."), "decoder.stopnet."),
)
# Parts of a name that only other architectures have, and what they are called.
_FOREIGN = {
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
# What the configuration must say for the architecture to be NVIDIA's, and for the mels to be the natural log that
# WaveGlow hears: its own defaults are others.
_REQUIRED = {
    "attention_norm": "softmax",
    "audio.signal_norm": False,
    "audio.log_func": "np.log",
    "audio.spec_gain": 1.0,
}
# What it may say, since older versions did not know the alternative.
_SAME_IF_STATED = {
    "attention_type": "original",
    "use_forward_attn": False,
    "windowing": False,
    "location_attn": True,
    "prenet_type": "original",
    "prenet_dropout": True,
    "r": 1,  # of several frames a step its decoder sees the last alone, NVIDIA's all of them
}
_AUDIO_NAMES = {
    "sample_rate": "sampling_rate",
    "hop_length": "hop_length",
    "fft_size": "filter_length",
    "win_length": "win_length",
    "mel_fmin": "mel_fmin",
    "mel_fmax": "mel_fmax",
    "num_mels": "n_mel_channels",
}


def read(state: State, beside: Mapping[str, Any]) -> Layout | None:
    """None unless the names are Coqui's. beside: config.json from the file's folder, empty if there is none.

    Raises CheckpointError, naming the first difference, for an architecture that is not NVIDIA's.
    """
    if not state.has(".convolution1d.", "decoder.stopnet.", "cbhg"):
        return None
    for part, said in _FOREIGN.items():
        if state.has(part):
            raise CheckpointError(f"is a Coqui TTS model with {said}, which NVIDIA's Tacotron 2 has not")
    config = state.config or beside
    _refuse_differences(config)
    audio = config.get("audio")
    names = {name: _renamed(name) for name in state.tensors}
    return Layout(
        family="Coqui TTS",
        model="tacotron2",
        tensors={new: state.tensors[name] for name, new in names.items()},
        keys={new: state.keys[name] for name, new in names.items()},
        audio={"audio": _audio(audio) if isinstance(audio, Mapping) else {}},
        mend=mend,
    )


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return unwrapped(name)


def _refuse_differences(config: Mapping[str, Any]) -> None:
    for name, same in {**_REQUIRED, **_SAME_IF_STATED}.items():
        value = _stated(config, name)
        if value is None and name in _REQUIRED:
            raise CheckpointError(
                f"is a Coqui TTS model, whose weights do not show its {name}; put its config.json into the same folder"
            )
        if value is not None and value != same:
            raise CheckpointError(f"is a Coqui TTS model with {name} {value!r}, where NVIDIA's has {same!r}")


def _stated(config: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted name, None if there is none."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _audio(audio: Mapping[str, Any]) -> dict[str, Any]:
    return {new: audio[name] for name, new in _AUDIO_NAMES.items() if audio.get(name) is not None}


def mend(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fold the stop predictor into a gate over [h, c], in float64. Raises CheckpointError where shapes don't fit."""
    mended = dict(tensors)
    mended.pop("decoder.attention_layer.v.bias", None)
    decoder = "decoder.{}.{}".format
    weight, bias = mended.pop(decoder("stopnet", "weight"), None), mended.pop(decoder("stopnet", "bias"), None)
    projection = tensors.get(decoder("linear_projection", "weight"))
    offset = tensors.get(decoder("linear_projection", "bias"))
    if weight is None or bias is None or projection is None or offset is None:
        raise CheckpointError("decoder.stopnet or decoder.linear_projection is missing")
    width = dimension(tensors, "decoder.decoder_rnn.weight_hh", 1)
    if weight.ndim != 2 or projection.ndim != 2 or weight.shape[1] != width + projection.shape[0]:
        raise CheckpointError(f"decoder.stopnet.1.weight: {list(weight.shape)} does not fit a state and a frame")
    of_state, of_frame = weight[:, :width].double(), weight[:, width:].double()
    gate = of_frame @ projection.double()
    gate[:, :width] += of_state
    mended[decoder("gate_layer", "weight")] = gate.float()
    mended[decoder("gate_layer", "bias")] = (bias.double() + of_frame @ offset.double()).float()
    return mended
