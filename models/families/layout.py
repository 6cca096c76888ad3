"""What a family of checkpoints has to tell: whose it is, its tensors under this package's names, its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from ..pickles import TensorRecord

ModelName = Literal["tacotron2", "waveglow"]
Mend = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def as_they_are(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


@dataclass(frozen=True)
class Layout:
    family: str  # as the user is told
    model: ModelName
    tensors: Mapping[str, TensorRecord]  # under this package's names, up to what `mend` does
    keys: Mapping[str, str]  # those names -> the file's, for messages
    config: Mapping[str, Any] = field(default_factory=dict)  # what the file states; the rest is read off the weights
    audio: Mapping[str, Any] = field(default_factory=dict)  # audio settings, where the file has any
    mend: Mend = as_they_are  # what remains to be done once weight norm is folded
