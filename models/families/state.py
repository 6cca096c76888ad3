"""Finds the model's tensors in the content that a training script saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import CheckpointError, shown
from ..pickles import Placeholder, TensorRecord

# Keys under which training scripts store the weights; ParallelWaveGAN nests two of them.
_PLACES = ("state_dict", "model", "model_state_dict", "generator", "gen_ema", ("model", "generator"))
_MAX_ENTRIES = 10_000  # of a setting at the top level, all levels and repetitions counted
_MAX_DEPTH = 50  # levels of such a setting
_MAX_NAME = 1_000  # characters of a tensor's full name
_MAX_TENSORS = 10_000  # and modules; a published WaveGlow has 1,216, but a pickled module may contain itself


@dataclass(frozen=True)
class State:
    """The tensors of a checkpoint, and the content that they were found in."""

    content: Mapping[str, Any]  # the file's top level; empty if the file contains only the model
    tensors: dict[str, TensorRecord]  # by name, without the prefixes of distributed training
    keys: dict[str, str]  # that name -> the name in the file
    pickled: Placeholder | None  # the model, if the file contains it as an object

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The configuration of the training run, None if it was not saved."""
        config = self.content.get("config")
        return config if isinstance(config, Mapping) else None

    def has(self, *parts: str) -> bool:
        """True if the name of any tensor contains one of `parts`."""
        return any(part in name for name in self.tensors for part in parts)


def find_state(content: Any) -> State:
    """Find the tensors. Raises CheckpointError if there are none, or if an entry among them is not a tensor."""
    places = [_look_up(content, place) for place in _PLACES]
    for place in [*places, content]:
        pickled = place if isinstance(place, Placeholder) and "_modules" in place.attributes else None
        if pickled is not None:
            named = _module_tensors(pickled)
        elif isinstance(place, Mapping) and any(isinstance(value, TensorRecord) for value in place.values()):
            named = {key: value for key, value in place.items() if isinstance(key, str)}
        else:
            continue
        around = content if isinstance(content, Mapping) and place is not content else {}
        if not is_small(around.get("config")):
            raise CheckpointError(f"its config has over {_MAX_ENTRIES:,} entries or {_MAX_DEPTH} levels")
        return _state(named, {key: value if is_small(value) else None for key, value in around.items()}, pickled)
    raise CheckpointError(f"no weights found: expected a state_dict or a model, got {_outline(content)}")


def is_small(value: Any) -> bool:
    """True if settings are small enough to be copied and compared: a list that contains itself twice is not."""
    waiting, entries = [(value, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, (Mapping, list, tuple, set, frozenset)):
            entries += len(part)
            if entries > _MAX_ENTRIES or depth > _MAX_DEPTH:
                return False
            items = part.values() if isinstance(part, Mapping) else part
            waiting += [(item, depth + 1) for item in items]
    return True


def _look_up(content: Any, place: str | tuple[str, ...]) -> Any:
    for key in (place,) if isinstance(place, str) else place:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _state(named: dict[str, Any], around: Mapping[str, Any], pickled: Placeholder | None) -> State:
    if len(named) > _MAX_TENSORS:
        raise CheckpointError(
            f"not a Tacotron 2, WaveGlow or HiFi-GAN: expected at most {_MAX_TENSORS} tensors, got {len(named)}"
        )
    keys: dict[str, str] = {}
    for key, value in named.items():
        if len(key) > _MAX_NAME:
            raise CheckpointError(f"the name of a tensor has {len(key):,} characters: {key[:60]}…")
        if key.endswith("num_batches_tracked"):
            continue
        if not isinstance(value, TensorRecord):
            raise CheckpointError(f"{key} should be a tensor, got {type(value).__name__}")
        name = _strip_prefixes(key)
        if name in keys:
            raise CheckpointError(f"{key} and {keys[name]} map to the same tensor name")
        keys[name] = key
    return State(around, {name: named[key] for name, key in keys.items()}, keys, pickled)


def _strip_prefixes(key: str) -> str:
    """Remove the prefixes that distributed training adds."""
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key.removeprefix("1.")


def _module_tensors(model: Placeholder) -> dict[str, Any]:
    """List the tensors of a pickled model under the names that torch's state_dict() would give them.

    Raises CheckpointError for more tensors or modules than a model has.
    """
    named: dict[str, Any] = {}
    waiting = [("", model)]
    for _ in range(_MAX_TENSORS):
        if not waiting:
            return named
        prefix, module = waiting.pop()
        for kind in ("_parameters", "_buffers"):
            named |= {prefix + name: value for name, value in _entries(module, kind, prefix) if value is not None}
        for name, child in _entries(module, "_modules", prefix):
            if isinstance(child, Placeholder):
                waiting.append((f"{prefix}{name}.", child))
        if len(named) + len(waiting) > _MAX_TENSORS:
            break
    raise CheckpointError(f"the model has over {_MAX_TENSORS} modules, or one that contains itself")


def _entries(module: Placeholder, attribute: str, prefix: str) -> list[tuple[str, Any]]:
    entries = [(name, value) for name, value in _mapping(module, attribute).items() if isinstance(name, str)]
    if len(entries) > _MAX_TENSORS or any(len(prefix) + len(name) > _MAX_NAME for name, _ in entries):
        raise CheckpointError(f"a module has over {_MAX_TENSORS:,} entries, itself, or names of over {_MAX_NAME}")
    return entries


def _mapping(module: Placeholder, attribute: str) -> Mapping[str, Any]:
    value = module.attributes.get(attribute)
    return value if isinstance(value, Mapping) else {}


def submodule(module: Placeholder, path: str) -> Placeholder | None:
    """Return the module at a dotted path inside any wrapper of distributed training; None if there is none."""
    wrapped = _mapping(module, "_modules").get("module")
    found: Any = wrapped if isinstance(wrapped, Placeholder) else module
    for part in path.split("."):
        found = _mapping(found, "_modules").get(part) if isinstance(found, Placeholder) else None
    return found if isinstance(found, Placeholder) else None


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return "a dict with " + (", ".join(shown(key) for key in islice(content, 6)) or "nothing in it")
    if isinstance(content, TensorRecord):
        return "a tensor"
    return f"an object of {type(content).__name__}" if isinstance(content, Placeholder) else type(content).__name__
