"""HiFi-GAN as its authors save it (jik876/hifi-gan): {"generator": …}, with config.json in the same folder.

Bare state dicts under the same names are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .hifigan_generator import Generator, audio, plan
from .state import State


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    config = state.config or adjacent_config
    return Generator("jik876/hifi-gan", {name: name for name in state.tensors}, plan(config), audio(config))
