"""The families of checkpoints, a file each: which names of tensors are theirs, and what has to be done to them.

A family reads a `State` (families/state.py) and answers with a `Layout` (families/layout.py), or None if it does not
know the names, or CheckpointError if it does and the architecture is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from . import coqui, nemo, tacotron2, waveglow
from .layout import Layout
from .state import find_state


def recognise(content: Any, beside: Mapping[str, Any]) -> Layout:
    """Raises CheckpointError, naming what was found, if no family knows it.

    content: what the file holds, as models/archives.py reads it; beside: config.json from its folder, if there.
    """
    state = find_state(content)
    # NeMo and Coqui first: they have some of NVIDIA's names too.
    layout = nemo.read(state) or coqui.read(state, beside) or tacotron2.read(state) or waveglow.read(state)
    if layout is None:
        names = ", ".join(list(state.keys.values())[:3])
        raise CheckpointError(f"is no Tacotron 2 or WaveGlow of a known family: its tensors are {names}, …")
    return layout


__all__ = ["Layout", "recognise"]
