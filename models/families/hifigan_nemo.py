"""HiFi-GAN of NVIDIA NeMo: a .nemo file, whose model_config.yaml states the plan, or the weights inside it next to
that file.

The weights contain the discriminators and the mel spectrogram's, which are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .hifigan_generator import Generator, audio, plan, section
from .state import State

_PREFIX = "generator."


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if _PREFIX + "conv_pre.bias" not in state.tensors:
        return None
    names = {name: name.removeprefix(_PREFIX) for name in state.tensors if name.startswith(_PREFIX)}
    return Generator(
        "NVIDIA NeMo",
        names,
        plan(section(adjacent_config, "generator")),
        audio(section(adjacent_config, "preprocessor")),
    )
