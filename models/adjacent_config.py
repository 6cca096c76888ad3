"""Reads the configuration that some families store next to a checkpoint, or next to the weights inside a .nemo file.

YAML is read as data: tags, which SpeechBrain's and NeMo's own loaders execute, are ignored.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .file_parts import FilePart, tar_member
from .safetensors_format import read_json

NEMO_CONFIG = "model_config.yaml"  # in a .nemo file, and what unpacking it leaves next to the weights
YAML_NAMES = (NEMO_CONFIG, "hyperparams.yaml", "config.yaml", "config.yml")
MAX_BYTES = 1 << 16  # largest YAML file: larger ones take seconds; a published configuration has a few kilobytes
TOO_LARGE = f"it is larger than {MAX_BYTES >> 10} KiB"


def read_adjacent_config(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the checkpoint at `path`; {} if there is none.

    Raises CheckpointError, naming the file and the reason, if there is one that cannot be read.
    """
    inside = _nemo_config(path)
    if inside is not None:
        return _parse_yaml(inside, NEMO_CONFIG)
    for name in ("config.json", *YAML_NAMES):
        file = path.parent / name
        if file.is_file():
            return _read_json(file) if name == "config.json" else _read_yaml(file)
    return {}


def _nemo_config(path: Path) -> bytes | None:
    """Return the configuration inside a .nemo file, None if it is not one."""
    try:
        with path.open("rb", buffering=0) as raw:
            file = FilePart(raw)
            place = tar_member(file, NEMO_CONFIG)
            content = None if place is None else file.part(place[0], min(place[1], MAX_BYTES + 1)).read()
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return None
    if content is not None and len(content) > MAX_BYTES:
        raise _unreadable(NEMO_CONFIG, TOO_LARGE)
    return content


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        return _checked(read_json(path), path.name)
    except OSError as error:
        raise _unreadable(path.name, str(error.strerror)) from error
    except RecursionError as error:
        raise _unreadable(path.name, "its values are nested too deeply") from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise _unreadable(path.name, f"not JSON: {error}") from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path.name, str(error.strerror)) from error
    if len(content) > MAX_BYTES:
        raise _unreadable(path.name, TOO_LARGE)
    return _parse_yaml(content, path.name)


def _checked(found: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise _unreadable(name, f"expected settings by name, got a {type(found).__name__}")
    return found


def _unreadable(name: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"its configuration, {name}, cannot be read: {reason}; correct it, or put the model's own there"
    )


def _parse_yaml(content: bytes, name: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError(f"{name}: reading YAML needs PyYAML: pip install pyyaml") from error

    class DataLoader(yaml.SafeLoader):  # type: ignore[misc, name-defined, unused-ignore]
        """Reads tagged nodes as what they are without their tags, and ignores merge keys, which can multiply."""

        def flatten_mapping(self, node: Any) -> None:
            """Leave the mapping as it is."""

    def untagged(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    DataLoader.add_multi_constructor("", untagged)
    try:
        found = yaml.load(content, DataLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise _unreadable(name, f"not YAML: {error}") from error
    return _checked({} if found is None else found, name)
