"""NVIDIA NeMo: the architecture of NVIDIA's older repositories under names of its own.

Read from a .nemo file, from the model_weights.ckpt inside it, or from a training checkpoint. NeMo's configuration is
YAML and not read: dimensions come from the weights, audio settings and symbols from the voice file. Its Tacotron 2
has three embedding rows past its labels: begin, end and padding.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..errors import CheckpointError
from . import tacotron2, waveglow
from .layout import Layout
from .state import State

# The mel spectrogram of training, the loss: no part of what speaks.
_ASIDE = re.compile(r"^(audio_to_melspec_precessor|loss)\.")
_RENAMED = ((re.compile(r"^text_embedding\."), "embedding."), (re.compile(r"^(waveglow\.)?wavenet\."), "WN."))
_PREFIX = re.compile(r"^waveglow\.")


def read(state: State) -> Layout | None:
    """None unless the names are NeMo's. Raises CheckpointError for its models that are none of these two."""
    if not state.has("text_embedding.", "wavenet.", "audio_to_melspec_precessor."):
        return None
    kept = {name: _renamed(name) for name in state.tensors if not _ASIDE.match(name)}
    plain = replace(
        state,
        content={},
        tensors={new: state.tensors[name] for name, new in kept.items()},
        keys={new: state.keys[name] for name, new in kept.items()},
    )
    layout = tacotron2.read(plain) or waveglow.read(plain)
    if layout is None:
        raise CheckpointError("is a NeMo model, but no Tacotron 2 or WaveGlow")
    return replace(layout, family="NVIDIA NeMo")


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return _PREFIX.sub("", name)
