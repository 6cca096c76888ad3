"""Finds the model's tensors in what a training script saved, whatever lies beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from ..pickles import Inert, TensorRecord

_PLACES = ("state_dict", "model", "model_state_dict")  # where training scripts put the weights
_MAX_TENSORS = 10_000  # and modules: a published WaveGlow has 1,216, but a pickled one may hold itself


@dataclass(frozen=True)
class State:
    content: Mapping[str, Any]  # the file's top level; empty if the model is all there is
    tensors: dict[str, TensorRecord]  # by name, without the prefixes of distributed training
    keys: dict[str, str]  # that name -> the one in the file
    pickled: Inert | None  # the model, where the file holds it as an object

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The training run's own configuration, where it was saved."""
        config = self.content.get("config")
        return config if isinstance(config, Mapping) else None

    def has(self, *parts: str) -> bool:
        """Whether the name of any tensor contains one of these."""
        return any(part in name for name in self.tensors for part in parts)


def find_state(content: Any) -> State:
    """Raises CheckpointError if there are no tensors, or something else stands where one belongs."""
    places = [content.get(place) for place in _PLACES] if isinstance(content, Mapping) else []
    for place in [*places, content]:
        pickled = place if isinstance(place, Inert) and "_modules" in place.attributes else None
        if pickled is not None:
            named = _module_tensors(pickled)
        elif isinstance(place, Mapping) and any(isinstance(value, TensorRecord) for value in place.values()):
            named = {str(key): value for key, value in place.items()}
        else:
            continue
        around = content if isinstance(content, Mapping) and place is not content else {}
        return _state(named, around, pickled)
    raise CheckpointError(f"no weights found: expected a state_dict or a model, got {_outline(content)}")


def _state(named: dict[str, Any], around: Mapping[str, Any], pickled: Inert | None) -> State:
    if len(named) > _MAX_TENSORS:
        raise CheckpointError(f"has {len(named)} tensors, which no Tacotron 2 or WaveGlow has")
    keys: dict[str, str] = {}
    for key, value in named.items():
        if key.endswith("num_batches_tracked"):
            continue
        if not isinstance(value, TensorRecord):
            raise CheckpointError(f"{key} should be a tensor, got {type(value).__name__}")
        name = _undistributed(key)
        if name in keys:
            raise CheckpointError(f"{key} and {keys[name]} are two tensors of one name")
        keys[name] = key
    return State(around, {name: named[key] for name, key in keys.items()}, keys, pickled)


def _undistributed(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key.removeprefix("1.")


def _module_tensors(model: Inert) -> dict[str, Any]:
    """What torch's state_dict() would list for a pickled model."""
    named: dict[str, Any] = {}
    waiting = [("", model)]
    for _ in range(_MAX_TENSORS):
        if not waiting:
            return named
        prefix, module = waiting.pop()
        for kind in ("_parameters", "_buffers"):
            named |= {prefix + str(name): value for name, value in _mapping(module, kind).items() if value is not None}
        for name, child in _mapping(module, "_modules").items():
            if isinstance(child, Inert):
                waiting.append((f"{prefix}{name}.", child))
    raise CheckpointError("its modules are nested without an end")


def _mapping(module: Inert, attribute: str) -> Mapping[str, Any]:
    value = module.attributes.get(attribute)
    return value if isinstance(value, Mapping) else {}


def submodule(module: Inert, path: str) -> Inert | None:
    """The module at a dotted path, past the wrapper of distributed training; None if there is none."""
    wrapped = _mapping(module, "_modules").get("module")
    found: Any = wrapped if isinstance(wrapped, Inert) else module
    for part in path.split("."):
        found = _mapping(found, "_modules").get(part) if isinstance(found, Inert) else None
    return found if isinstance(found, Inert) else None


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return "a dict with " + (", ".join(repr(str(key)) for key in list(content)[:6]) or "nothing in it")
    if isinstance(content, TensorRecord):
        return "a tensor"
    return f"an object of {type(content).__name__}" if isinstance(content, Inert) else type(content).__name__
