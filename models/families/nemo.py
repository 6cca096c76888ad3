"""NVIDIA NeMo: the architecture of NVIDIA's older repositories under different names.

Accepts a .nemo file, the model_weights.ckpt inside it, or a training checkpoint. NeMo's YAML configuration is not read:
dimensions come from the weights, audio settings and symbols from the voice file. Its Tacotron 2 has three embedding
rows after its labels: begin, end and padding.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..errors import CheckpointError
from . import tacotron2, waveglow
from .layout import Layout, rename
from .state import State

# Tensors that only training uses: the mel spectrogram's and the loss's. The misspelling is NeMo's.
_TRAINING_ONLY = re.compile(r"^(audio_to_melspec_precessor|loss)\.")
_RENAMED = ((re.compile(r"^text_embedding\."), "embedding."), (re.compile(r"^wavenet\."), "WN."))


def read(state: State) -> Layout | None:
    """Return the layout, None if the names are not NeMo's. Raises CheckpointError for NeMo's other models."""
    if not state.has("text_embedding.", "wavenet.", "audio_to_melspec_precessor."):
        return None
    names = {name: rename(name, _RENAMED) for name in state.tensors if not _TRAINING_ONLY.match(name)}
    plain = replace(
        state,
        content={},
        tensors={new: state.tensors[name] for name, new in names.items()},
        keys={new: state.keys[name] for name, new in names.items()},
    )
    layout = tacotron2.read(plain) or waveglow.read(plain)
    if layout is None:
        raise CheckpointError("a NeMo model, but neither Tacotron 2 nor WaveGlow")
    return replace(layout, family="NVIDIA NeMo")
