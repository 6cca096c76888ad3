"""Checkpoint families, one file each: their tensor names, and the conversion of their weights.

A family's `read` takes a `State` (families/state.py) and returns a `Layout` (families/layout.py), or None if the tensor
names are not its own. It raises CheckpointError if the names are its own but the architecture is not supported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CheckpointError
from . import coqui, hifigan, nemo, tacotron2, waveglow
from .layout import Layout
from .state import State, find_state, is_small

# Names of modules that condition a model on more than text or mels -> the feature that they belong to.
_CONDITIONS = (
    (re.compile(r"(?:^|[._])(?:gst|style_tokens?|global_style)(?=[._])"), "global style tokens"),
    (re.compile(r"(?:^|[._])(?:speaker|spk)"), "several speakers"),
    (re.compile(r"(?:^|[._])(?:languages?|lang)(?=[._])"), "several languages"),
    (re.compile(r"(?:^|[._])(?:emotions?|emo|styles?|vae)(?=[._])"), "several styles"),
)


def recognize(content: Any, read_adjacent_config: Callable[[], Mapping[str, Any]]) -> Layout:
    """Find the family of a checkpoint. Raises CheckpointError, naming some tensors, if no family matches.

    content: the file's content, from models/archives.py. read_adjacent_config: reads the configuration in its
    folder, empty if missing; called by families that store one there.
    """
    state = find_state(content)

    def read_small_config() -> Mapping[str, Any]:
        config = read_adjacent_config()
        if not is_small(config):
            raise CheckpointError(
                "its configuration, in the same folder, has too many entries or levels; put the model's own there"
            )
        return config

    # HiFi-GAN, NeMo and Coqui come first, because their names include some of NVIDIA's.
    layout = (
        hifigan.read(state, read_small_config)
        or nemo.read(state)
        or coqui.read(state, read_small_config)
        or tacotron2.read(state)
        or waveglow.read(state)
    )
    if layout is None:
        names = ", ".join(list(state.keys.values())[:3])
        raise CheckpointError(
            f"not a Tacotron 2, WaveGlow or HiFi-GAN of a known family, got tensors {names}, …; "
            "docs/checkpoints.md lists the families"
        )
    _check_conditions(layout, state)
    return layout


def _check_conditions(layout: Layout, state: State) -> None:
    """Raise CheckpointError, naming the feature, for a model that needs a speaker, a language or a style."""
    for pattern, feature in _CONDITIONS:
        key = next((key for name, key in state.keys.items() if pattern.search(name)), None)
        if key is not None:
            raise CheckpointError(
                f"a {layout.model} with {feature} ({key}), which is not supported; "
                "use a checkpoint of one speaker and one style"
            )


__all__ = ["Layout", "recognize"]
