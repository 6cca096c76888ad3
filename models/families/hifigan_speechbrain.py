"""HiFi-GAN of SpeechBrain: a bare state dict, with hyperparams.yaml in the same folder.

Its convolutions pad by reflection, so the first and the last frames differ from other families' with the same weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .hifigan_generator import Generator, audio, plan, section
from .state import State

_LAYER = re.compile(r"\.conv\.(?=[^.]+$|parametrizations\.)")


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if not state.has("conv_pre.conv."):
        return None
    names = {name: _LAYER.sub(".", name) for name in state.tensors}
    generator = section(adjacent_config, "generator") or adjacent_config
    config = plan(adjacent_config) | plan(generator) | {"padding_mode": "reflect"}
    return Generator("SpeechBrain", names, config, audio(adjacent_config))
