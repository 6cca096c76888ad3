"""Reads checkpoints of every family as data and never as code, into this package's modules.

The families stand in families/, a file each; the file formats in archives.py. Everything becomes float32 with weight
norm folded. Dimensions are read off the weights, and what a checkpoint's own config says of them must agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .archives import open_archive, read_tensor
from .config import Tacotron2Config, WaveGlowConfig, config_from_dict
from .errors import CheckpointError
from .families import recognise
from .families.layout import ModelName
from .families.tacotron2 import dimensions as tacotron2_dimensions
from .families.waveglow import dimensions as waveglow_dimensions
from .fill import fill
from .kept import SUFFIX, read_kept
from .tacotron2 import Tacotron2
from .waveglow import WaveGlow
from .weights import check_finite, fold_weight_norm

AUDIO_KEYS = ("sampling_rate", "hop_length", "filter_length", "win_length", "mel_fmin", "mel_fmax", "n_mel_channels")
LONGEST_MESSAGE = 600  # characters


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    model: ModelName
    family: str
    config: Mapping[str, Any]  # what the file states
    tensors: dict[str, Tensor]  # float32, under this package's names
    keys: dict[str, str]  # our name -> the name in the file, for messages
    audio: dict[str, float]  # audio settings, where the file has any


def load_tacotron2(path: str | Path) -> Tacotron2:
    """Read a Tacotron 2 checkpoint: float32 modules in eval mode.

    `.family` says whose checkpoint it is, `.audio` has the file's audio settings, if any.
    Raises CheckpointError, naming the file and what does not fit.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    with _naming(path):
        shapes = _dimensions(checkpoint, "tacotron2", tacotron2_dimensions)
    values = {**asdict(Tacotron2Config()), **shapes, **checkpoint.config}
    config = config_from_dict(Tacotron2Config, values, str(path))
    with _naming(path):
        model = fill(lambda: Tacotron2(config), checkpoint.tensors, checkpoint.keys)
    model.audio, model.family = checkpoint.audio, checkpoint.family
    return model


def load_waveglow(path: str | Path, hop_length: int | None = None) -> WaveGlow:
    """Read a WaveGlow checkpoint: float32 modules in eval mode; `.family` and `.audio` as load_tacotron2's.

    hop_length, in samples, is for a file that does not state it; a quarter of the upsampling kernel, as published, if
    None. Raises CheckpointError, naming the file and what does not fit.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    with _naming(path):
        shapes = _dimensions(checkpoint, "waveglow", waveglow_dimensions)
        hop = checkpoint.audio.get("hop_length", hop_length or max(shapes["upsample_kernel"] // 4, 1))
        if hop != int(hop):
            raise CheckpointError(f"hop_length: expected a whole number of samples, got {hop}")
    # Where no channels leave early, the shapes leave it open when they would have.
    base = {**asdict(WaveGlowConfig()), "n_early_every": shapes["n_flows"], "upsample_stride": int(hop)}
    config = config_from_dict(WaveGlowConfig, _merged({**base, **shapes}, checkpoint.config), str(path))
    with _naming(path):
        model = fill(lambda: WaveGlow(config), checkpoint.tensors, checkpoint.keys)
    model.audio, model.family = checkpoint.audio, checkpoint.family
    return model


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Raises CheckpointError, naming the file, for one that is of no known family or damaged anywhere."""
    path = Path(path)
    with _naming(path):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise CheckpointError(f"{found}; give the path of a checkpoint, or use --demo")
        checkpoint = _read_kept(path) if path.suffix == SUFFIX else _read_archive(path)
        if checkpoint.audio.get("hop_length", 1) < 1:
            raise CheckpointError(f"hop_length: expected at least 1, got {checkpoint.audio['hop_length']}")
        return checkpoint


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        # Names within the file may hold line breaks, or be endless.
        raise CheckpointError(f"{path}: " + " ".join(str(error).split())[:LONGEST_MESSAGE]) from error


def _read_archive(path: Path) -> Checkpoint:
    with open_archive(path) as archive:
        layout = recognise(archive.content, _config_beside(path))
        tensors = {name: read_tensor(archive, record) for name, record in layout.tensors.items()}
    keys = dict(layout.keys)
    check_finite(tensors, keys)
    folded = layout.mend(fold_weight_norm(tensors))
    return Checkpoint(path, layout.model, layout.family, layout.config, folded, keys, _audio_settings(layout.audio))


def _read_kept(path: Path) -> Checkpoint:
    kept = read_kept(path)
    tensors = {name: value.float() for name, value in kept.tensors.items()}
    keys = {name: name for name in tensors}
    check_finite(tensors, keys)
    return Checkpoint(path, kept.model, kept.family, kept.config, tensors, keys, _audio_settings({"audio": kept.audio}))


def _config_beside(path: Path) -> Mapping[str, Any]:
    """config.json from the checkpoint's folder, where some families keep their configuration."""
    try:
        content = json.loads((path.parent / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _audio_settings(content: Mapping[str, Any]) -> dict[str, float]:
    config = content.get("config")
    inside = config.get("audio") if isinstance(config, Mapping) else None
    found: dict[str, float] = {}
    for place in (config, inside, content.get("data_config"), content.get("audio")):
        if isinstance(place, Mapping):
            found.update({key: place[key] for key in AUDIO_KEYS if _is_number(place.get(key))})
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _dimensions(
    checkpoint: Checkpoint, model: ModelName, read_off: Callable[[Mapping[str, Tensor]], dict[str, Any]]
) -> dict[str, Any]:
    if checkpoint.model != model:
        raise CheckpointError(f"holds a {checkpoint.model} ({checkpoint.family}); give it as --{checkpoint.model}")
    shapes = read_off(checkpoint.tensors)
    _check_agreement(checkpoint.config, shapes)
    return shapes


def _merged(base: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """base with what is stated in its place, WN_config entry by entry."""
    merged = {**base, **stated}
    if isinstance(stated.get("WN_config"), Mapping):
        merged["WN_config"] = {**base["WN_config"], **stated["WN_config"]}
    return merged


def _check_agreement(stated: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Before anything is made of what is stated. Values of a wrong type are left to the config's own checks."""
    for name, size in shapes.items():
        said = stated.get(name, size)
        if isinstance(size, Mapping):
            _check_agreement(said if isinstance(said, Mapping) else {}, size)
        elif _is_number(said) and said == int(said) != size:
            raise CheckpointError(f"its config says {name} {said}, its weights {size}")
