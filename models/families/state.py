"""Finds the model's tensors in the content that a training script saved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import CheckpointError, shown
from ..pickles import Placeholder, TensorRecord

# Keys under which training scripts store the weights; ParallelWaveGAN nests two of them.
_PLACES = ("state_dict", "model", "model_state_dict", "generator", "gen_ema", ("model", "generator"))
# Modules that PyTorch puts around others: data parallelism, torch.compile, FSDP, activation checkpoints.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Modules that tell the model's place among others: of a Tacotron 2 of any family, of a WaveGlow, of a HiFi-GAN.
_LANDMARK = re.compile(r"((?:[^.]+\.)*?)(?:decoder\.attention_rnn|convinv|conv_pre|input_conv)\.")
# Names that training scripts give the model, beside other modules such as losses and discriminators.
_MODEL_NAMES = ("model", "generator", "model_g", "net_g", "net", "tacotron2", "waveglow", "hifigan", "vocoder")
# Names of weights: an entry of another name that does not have floating-point numbers is a counter or a mask.
_WEIGHT = re.compile(r"weight|bias|running_|original\d|mean$|scale$")
_COUNTERS = ("num_batches_tracked", "n_averaged")  # integers, until averaging or conversion makes them floating-point
_MAX_ENTRIES = 10_000  # entries of a setting at the top level; all levels and repetitions count
_MAX_DEPTH = 50  # levels of such a setting
_MAX_NAME = 1_000  # characters of a tensor's full name
_MAX_TENSORS = 10_000  # and modules; a published WaveGlow has 1,216, but a pickled module may contain itself


@dataclass(frozen=True)
class State:
    """The tensors of a checkpoint, and the content that they were found in."""

    content: Mapping[str, Any]  # the file's top level; empty if the file contains only the model
    tensors: dict[str, TensorRecord]  # by name, without wrappers and prefix
    keys: dict[str, str]  # that name -> the name in the file
    pickled: Placeholder | None  # the model, if the file contains it as an object
    prefix: str = ""  # of the model in the file, without wrappers: "model." or "generator."

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
        if not _is_weight(key, value):
            continue
        if not isinstance(value, TensorRecord):
            raise CheckpointError(f"{key} should be a tensor, got {type(value).__name__}")
        name = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        if name in keys:
            raise CheckpointError(f"{key} and {keys[name]} map to the same tensor name")
        keys[name] = key
    prefix = _model_prefix(keys)
    keys = {name.removeprefix(prefix): key for name, key in keys.items() if name.startswith(prefix)}
    if pickled is not None:
        pickled = submodule(pickled, prefix.removesuffix("."))
    return State(around, {name: named[key] for name, key in keys.items()}, keys, pickled, prefix)


def _is_weight(key: str, value: Any) -> bool:
    """False for what a state dict has besides weights: counts of batches or of averaged models, masks, settings."""
    last = key.rpartition(".")[2]
    if last in _COUNTERS:
        return False
    is_float = isinstance(value, TensorRecord) and value.dtype.is_floating_point
    return is_float or _WEIGHT.match(last) is not None


def _model_prefix(names: Iterable[str]) -> str:
    """Return the part of the names before the model's own; tensors without it belong to other modules.

    It is any part that all names share, or one that ends with a usual name of the model; otherwise the empty string.
    """
    found = dict.fromkeys(match[1] for name in names if (match := _LANDMARK.match(name)))
    for prefix in found:
        if all(name.startswith(prefix) for name in names):
            return prefix
    usual = [prefix for name in _MODEL_NAMES for prefix in found if f".{prefix}".endswith(f".{name}.")]
    return usual[0] if usual else ""


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
    """Return the module at a dotted path, wrappers left out of it; None if there is none. "": the module itself."""
    module = _unwrapped(module)
    for part in path.split(".") if path else ():
        child = _mapping(module, "_modules").get(part)
        if not isinstance(child, Placeholder):
            return None
        module = _unwrapped(child)
    return module


def _unwrapped(module: Placeholder) -> Placeholder:
    for _ in range(_MAX_DEPTH):  # a hostile module could contain itself
        children = _mapping(module, "_modules")
        wrapped = next((children[name] for name in _WRAPPERS if isinstance(children.get(name), Placeholder)), None)
        if wrapped is None:
            break
        module = wrapped
    return module


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return "a dict with " + (", ".join(shown(key) for key in islice(content, 6)) or "nothing in it")
    if isinstance(content, TensorRecord):
        return "a tensor"
    return f"an object of {type(content).__name__}" if isinstance(content, Placeholder) else type(content).__name__
