"""The form that the project keeps models in: NAME.safetensors with the weights, NAME.json with all else.

`tacoglow convert` writes it. The weights are float32 under this package's names, weight norm folded; the JSON states
the configuration, the audio settings, the family that the model came from, and one SHA-256 over both files, so that
damage, and files which do not belong together, are noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor

from .errors import CheckpointError
from .tacotron2 import Tacotron2
from .waveglow import WaveGlow

FORMAT = "tacoglow model"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class KeptModel:
    model: Literal["tacotron2", "waveglow"]
    family: str
    config: Mapping[str, Any]
    audio: Mapping[str, Any]
    tensors: dict[str, Tensor]


def encode_kept(model: Tacotron2 | WaveGlow, name: str) -> tuple[bytes, bytes]:
    """The two files of a loaded Tacotron2 or WaveGlow: safetensors, JSON. name: "tacotron2" or "waveglow"."""
    from safetensors.torch import save

    state = {key: value.contiguous() for key, value in model.state_dict().items() if not _counts_batches(key)}
    weights: bytes = save(state)
    described: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": name,
        "family": model.family,
        "config": asdict(model.config),
        "audio": model.audio,
    }
    described["sha256"] = _digest(weights, described)
    return weights, json.dumps(described, indent=1).encode() + b"\n"


def _digest(weights: bytes, described: Mapping[str, Any]) -> str:
    """Of the weights, and of what the JSON says apart from this digest."""
    rest = {key: value for key, value in described.items() if key != "sha256"}
    return hashlib.sha256(weights + json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _counts_batches(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def read_kept(path: Path) -> KeptModel:
    """Raises CheckpointError if the pair is not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    described = _read_description(path.with_suffix(".json"))
    weights = path.read_bytes()
    if _digest(weights, described) != described.get("sha256"):
        raise CheckpointError(f"it or {path.stem}.json was changed, or they are no pair; convert the checkpoint again")
    try:
        tensors = load(weights)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"is no safetensors file ({error})") from error
    return KeptModel(
        described["model"], str(described.get("family")), described["config"], described.get("audio", {}), tensors
    )


def _read_description(path: Path) -> dict[str, Any]:
    again = "convert the checkpoint again"
    if not path.is_file():
        raise CheckpointError(f"has no {path.name} beside it; {again}")
    try:
        described = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} beside it is not JSON; {again}") from error
    version = described.get("format_version") if isinstance(described, dict) else None
    if version != FORMAT_VERSION or described.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} beside it is no {FORMAT!r} of version {FORMAT_VERSION}; {again}")
    if described.get("model") not in ("tacotron2", "waveglow") or not isinstance(described.get("config"), dict):
        raise CheckpointError(f"{path.name} beside it names no model, or no config; {again}")
    return cast(dict[str, Any], described)
