"""HiFi-GAN of NVIDIA DeepLearningExamples: configuration and audio settings are inside the checkpoint.

`generator` is read, `gen_ema` if there is no generator. Newer files number residual blocks within their stage, and
weights may have a fourth dimension of size 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .hifigan_generator import Generator, audio, plan
from .state import State


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if state.config is None or "train_setup" not in state.content:
        return None
    names = {name: name for name in state.tensors}
    return Generator("NVIDIA DeepLearningExamples", names, plan(state.config), audio(state.content.get("train_setup")))
