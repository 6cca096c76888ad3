"""Builds a model around a checkpoint's tensors without allocating anything else.

The model's sizes come from the file and cannot be trusted, so they do not decide how much memory is allocated: the
modules are built on torch's meta device, and the file's tensors become their parameters if the shapes match. Initial
weights are not drawn either, which would take longer than reading the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .errors import CheckpointError

MAX_LISTED = 4  # mismatches in one message
SPARE_PARAMETERS = 1_000  # parameters beyond the file's tensors, so that missing ones can be named

Model = TypeVar("Model", bound=nn.Module)


class _WithoutInitialValues(TorchFunctionMode):
    """Skips the functions of torch.nn.init, and limits the number of parameters that a model may create."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        if function is torch.empty:
            self._left -= 1
            if self._left < 0:
                raise CheckpointError("its sizes describe a model of far more tensors than the file has")
        return function(*args, **kwargs)


def load_on_meta(build: Callable[[], Model], tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> Model:
    """Build a model on the meta device and load the tensors into it; returns it in eval mode.

    build: creates the model. keys: the tensors' names in the file, for messages.
    Raises CheckpointError, naming tensors with both shapes, unless the tensors match the model's parameters and buffers
    one to one.
    """
    with torch.device("meta"), _WithoutInitialValues(len(tensors) + SPARE_PARAMETERS):
        model = build()
    state = model.state_dict()
    counts = {name: torch.tensor(0) for name in state if name.endswith("num_batches_tracked")}
    expected: dict[str, Tensor] = {name: value for name, value in state.items() if name not in counts}
    mismatches = [
        f"{keys.get(name, name)}: expected {_shape(expected.get(name))}, got {_shape(tensors.get(name))}"
        for name in [*expected, *(name for name in tensors if name not in expected)]
        if _shape(expected.get(name)) != _shape(tensors.get(name))
    ]
    if mismatches:
        more = f"; and {len(mismatches) - MAX_LISTED} more" if len(mismatches) > MAX_LISTED else ""
        listed = "; ".join(mismatches[:MAX_LISTED])
        raise CheckpointError(f"tensors do not match {type(model).__name__}: {listed}{more}")
    model.load_state_dict({**tensors, **counts}, assign=True)
    return model.eval()


def _shape(value: Tensor | None) -> str:
    return "no tensor" if value is None else str(list(value.shape))
