"""Checkpoint families, one file each: their tensor names, and the conversion of their weights.

A family's `read` takes a `State` (families/state.py) and returns a `Layout` (families/layout.py), or None if the tensor
names are not its own. It raises CheckpointError if the names are its own but the architecture is not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CheckpointError
from . import coqui, hifigan, nemo, tacotron2, waveglow
from .layout import Layout
from .state import find_state, is_small


def recognize(content: Any, read_adjacent_config: Callable[[], Mapping[str, Any]]) -> Layout:
    """Find the family of a checkpoint. Raises CheckpointError, naming some tensors, if no family matches.

    content: the file's content, from models/archives.py. read_adjacent_config: reads the configuration in its
    folder, empty if missing; called by families that store one there.
    """
    state = find_state(content)

    def read_small_config() -> Mapping[str, Any]:
        config = read_adjacent_config()
        return config if is_small(config) else {}

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
    return layout


__all__ = ["Layout", "recognize"]
