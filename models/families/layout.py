"""Result of recognizing a checkpoint: its family, its tensors under this package's names, its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from ..pickles import TensorRecord

ModelName = Literal["tacotron2", "waveglow", "hifigan"]
ConvertWeights = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def rename(name: str, patterns: Iterable[tuple[re.Pattern[str], str]]) -> str:
    """Apply a family's replacements to a tensor's name, in order."""
    for pattern, new in patterns:
        name = pattern.sub(new, name)
    return name


def identity(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


@dataclass(frozen=True)
class Layout:
    family: str  # shown to the user
    model: ModelName
    tensors: Mapping[str, TensorRecord]  # under this package's names, before `convert_weights`
    keys: Mapping[str, str]  # this package's name -> the name in the file, for messages
    config: Mapping[str, Any] = field(default_factory=dict)  # settings that the file states
    audio: Mapping[str, Any] = field(default_factory=dict)  # searched for audio settings
    convert_weights: ConvertWeights = identity  # applied after weight norm is folded
