"""A model made of a checkpoint's tensors, without a byte beside them.

A file states the model's sizes, so nothing is allocated by them: the modules are laid out on torch's meta device, and
take the file's tensors in their place if the shapes are the same. No initial weights are drawn either, which takes
longer than reading the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .errors import CheckpointError

MOST_NAMED = 4  # misfits in one message

Model = TypeVar("Model", bound=nn.Module)


class _WithoutInitialValues(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return function(*args, **kwargs)


def fill(build: Callable[[], Model], tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> Model:
    """The model in eval mode; build makes it, keys are the file's names of the tensors.

    Raises CheckpointError, naming tensors and both shapes, unless there is one for each parameter and no other.
    """
    with torch.device("meta"), _WithoutInitialValues():
        model = build()
    state = model.state_dict()
    counts = {name: torch.tensor(0) for name in state if name.endswith("num_batches_tracked")}
    expected: dict[str, Tensor] = {name: value for name, value in state.items() if name not in counts}
    misfits = [
        f"{keys.get(name, name)} should be {_shape(expected.get(name))}, is {_shape(tensors.get(name))}"
        for name in [*expected, *(name for name in tensors if name not in expected)]
        if _shape(expected.get(name)) != _shape(tensors.get(name))
    ]
    if misfits:
        more = f"; and {len(misfits) - MOST_NAMED} more" if len(misfits) > MOST_NAMED else ""
        listed = "; ".join(misfits[:MOST_NAMED])
        raise CheckpointError(f"its tensors do not fit {type(model).__name__}: {listed}{more}")
    model.load_state_dict({**tensors, **counts}, assign=True)
    return model.eval()


def _shape(value: Tensor | None) -> str:
    return "absent" if value is None else str(list(value.shape))
