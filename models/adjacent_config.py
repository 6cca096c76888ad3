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
MAX_BYTES = 1 << 16  # of YAML, which takes seconds beyond; a published configuration has a few kilobytes


def read_adjacent_config(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the checkpoint at `path`; {} if there is none, or none that is readable.

    Raises CheckpointError if there is one in YAML and PyYAML is not installed.
    """
    inside = _nemo_config(path)
    if inside is not None:
        return _parse_yaml(inside, path)
    if (path.parent / "config.json").is_file():
        return _read_json(path.parent / "config.json")
    for name in YAML_NAMES:
        file = path.parent / name
        if file.is_file() and file.stat().st_size <= MAX_BYTES:
            return _parse_yaml(file.read_bytes(), file)
    return {}


def _nemo_config(path: Path) -> bytes | None:
    """The configuration inside a .nemo file, None if it is not one."""
    try:
        with path.open("rb", buffering=0) as raw:
            file = FilePart(raw)
            place = tar_member(file, NEMO_CONFIG)
            return file.part(*place).read() if place is not None and place[1] <= MAX_BYTES else None
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):  # ValueError: of CheckpointError too
        return {}
    return found if isinstance(found, dict) else {}


def _parse_yaml(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError(f"{path.name}: reading YAML needs PyYAML: pip install pyyaml") from error

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
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
