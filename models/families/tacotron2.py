"""Tacotron 2 as saved by NVIDIA's two repositories and by torchaudio: the same modules under two sets of names.

NVIDIA wraps convolutions and linear layers (`.conv.`, `.linear_layer.`); torchaudio and this package do not.
DeepLearningExamples states the dimensions in `config`; for the others they are inferred from the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..weights import count_of, dimension
from .layout import Layout
from .state import State

_WRAPPERS = re.compile(r"\.(conv|linear_layer)\.")
# Decoder step limits, from NVIDIA/tacotron2's hparams.py and torchaudio's constructor: weights do not determine them.
_MAX_DECODER_STEPS = {"NVIDIA/tacotron2": 1000, "torchaudio": 2000}


def unwrap(name: str) -> str:
    """Remove the names of NVIDIA's wrapper modules from a tensor's name."""
    return _WRAPPERS.sub(".", name)


def read(state: State) -> Layout | None:
    """Return the layout, None if the names are not those of a Tacotron 2 of these families."""
    if not state.has("decoder.attention_rnn.") or not state.has("decoder.attention_layer."):
        return None
    config: Mapping[str, Any]
    if state.config is not None:
        family, config = "NVIDIA DeepLearningExamples", state.config
    else:
        family = "NVIDIA/tacotron2" if state.has(".linear_layer.", ".conv.") else "torchaudio"
        config = {"max_decoder_steps": _MAX_DECODER_STEPS[family]}
    return Layout(
        family=family,
        model="tacotron2",
        tensors={unwrap(name): record for name, record in state.tensors.items()},
        keys={unwrap(name): key for name, key in state.keys.items()},
        config=config,
        audio=state.content,
    )


def dimensions(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Infer the fields of Tacotron2Config that tensor shapes determine; the tensors have this package's names.

    Raises CheckpointError, naming the tensor, if one that is needed is missing.
    """

    def size(name: str, axis: int) -> int:
        return dimension(tensors, name, axis)

    attention = "decoder.attention_layer"
    encoded, memory = 2 * size("encoder.lstm.weight_hh_l0", 1), size(f"{attention}.memory_layer.weight", 1)
    if memory > encoded:
        raise CheckpointError(
            f"its decoder takes {memory} values per token and its encoder gives {encoded}: the others are an embedding "
            "of a speaker or a style, which is not supported; use a checkpoint of one speaker and one style"
        )
    postnets = count_of(tensors, "postnet.convolutions.{}.0.weight")
    bands = size(f"postnet.convolutions.{max(postnets - 1, 0)}.0.weight", 0)
    return {
        "n_mel_channels": bands,
        "n_symbols": size("embedding.weight", 0),
        "symbols_embedding_dim": size("embedding.weight", 1),
        "encoder_kernel_size": size("encoder.convolutions.0.0.weight", 2),
        "encoder_n_convolutions": count_of(tensors, "encoder.convolutions.{}.0.weight"),
        "encoder_embedding_dim": encoded,
        "attention_rnn_dim": size("decoder.attention_rnn.weight_hh", 1),
        "attention_dim": size(f"{attention}.query_layer.weight", 0),
        "attention_location_n_filters": size(f"{attention}.location_layer.location_conv.weight", 0),
        "attention_location_kernel_size": size(f"{attention}.location_layer.location_conv.weight", 2),
        "n_frames_per_step": size("decoder.linear_projection.weight", 0) // max(bands, 1),
        "decoder_rnn_dim": size("decoder.decoder_rnn.weight_hh", 1),
        "prenet_dim": size("decoder.prenet.layers.0.weight", 0),
        "postnet_embedding_dim": size("postnet.convolutions.0.0.weight", 0),
        "postnet_kernel_size": size("postnet.convolutions.0.0.weight", 2),
        "postnet_n_convolutions": postnets,
    }
