"""tacoglow's own checkpoint format: NAME.safetensors with the weights, NAME.json with everything else.

`tacoglow convert` writes it. The weights are float32 under this package's names, with weight norm folded. The JSON
contains the configuration, the audio settings, the family of the original checkpoint and one SHA-256 over both files,
which detects damaged files and files that do not belong together.
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
from .vocoder import Vocoder

FORMAT = "tacoglow model"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
MAX_HEADER = 8 << 20  # bytes; a published WaveGlow's has 0.1 million
MAX_JSON = 16 << 20  # bytes, as for a manifest


@dataclass(frozen=True)
class SavedModel:
    model: Literal["tacotron2", "waveglow", "hifigan"]
    family: str
    config: Mapping[str, Any]
    audio: Mapping[str, Any]
    tensors: dict[str, Tensor]


def encode_model(model: Tacotron2 | Vocoder, name: str) -> tuple[bytes, bytes]:
    """Encode a model as the contents of its two files: safetensors, JSON. name: "tacotron2", or the vocoder's kind."""
    from safetensors.torch import save

    state = {key: value.contiguous() for key, value in model.state_dict().items() if not _is_batch_counter(key)}
    weights: bytes = save(state)
    described: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": name,
        "family": model.family,
        "config": asdict(cast(Any, model.config)),
        "audio": model.audio,
    }
    described["sha256"] = _digest(weights, described)
    return weights, json.dumps(described, indent=1).encode() + b"\n"


def _digest(weights: bytes, described: Mapping[str, Any]) -> str:
    """Compute the SHA-256 of the weights and of all entries of the JSON except the digest itself."""
    rest = {key: value for key, value in described.items() if key != "sha256"}
    digest = hashlib.sha256(weights)
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()


def _is_batch_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def read_model(path: Path) -> SavedModel:
    """Read both files. Raises CheckpointError if one is missing or damaged, or if they do not belong together."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    described = _read_description(path.with_suffix(".json"))
    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > MAX_HEADER:
            raise CheckpointError("not a safetensors file (header too large); convert the checkpoint again")
    weights = path.read_bytes()
    if _digest(weights, described) != described.get("sha256"):
        raise CheckpointError(
            f"does not match {path.stem}.json: one of them was changed, or they come from different conversions; "
            "convert the checkpoint again"
        )
    try:
        tensors = load(weights)
    except Exception as error:  # torch raises errors of any type, over many lines, for shapes that it cannot have
        what = error if isinstance(error, SafetensorError) else f"{type(error).__name__} in a tensor's shape or data"
        raise CheckpointError(f"not a safetensors file ({what}); convert the checkpoint again") from error
    return SavedModel(
        described["model"], str(described.get("family")), described["config"], described.get("audio", {}), tensors
    )


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises CheckpointError if it is too large or states a key twice, ValueError if not JSON.

    RecursionError for deep nesting, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise CheckpointError(f"{path.name} is larger than {MAX_JSON >> 20} MiB, which no description of a model is")
    return json.loads(data, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise CheckpointError("a key occurs twice in the JSON file next to it; write the file again")
    return found


def _read_description(path: Path) -> dict[str, Any]:
    again = "convert the checkpoint again"
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing from the same folder; {again}")
    try:
        described = read_json(path)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} next to it is not JSON; {again}") from error
    version = described.get("format_version") if isinstance(described, dict) else None
    if version != FORMAT_VERSION or described.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} next to it is not a {FORMAT!r} file of version {FORMAT_VERSION}; {again}")
    is_known = described.get("model") in ("tacotron2", "waveglow", "hifigan")
    if not is_known or not isinstance(described.get("config"), dict):
        raise CheckpointError(f"{path.name} next to it has no valid model or config; {again}")
    return cast(dict[str, Any], described)
