"""Loads checkpoints of every family into this package's modules, as data and never as code.

Checkpoint families are in families/, one file each; file formats are in archives.py. All weights become float32, with
weight norm folded. Dimensions are inferred from the weights; a config stored in the checkpoint must agree with them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from .adjacent_config import read_adjacent_config
from .archives import open_archive, read_tensors
from .config import LARGEST_SETTING, Tacotron2Config, WaveGlowConfig, config_from_dict
from .errors import CheckpointError, shown
from .families import recognize
from .families.hifigan import dimensions as hifigan_dimensions
from .families.hifigan_generator import tuples
from .families.layout import ModelName
from .families.tacotron2 import dimensions as tacotron2_dimensions
from .families.waveglow import dimensions as waveglow_dimensions
from .hifigan import HiFiGAN
from .hifigan_config import hifigan_config
from .meta_loading import load_on_meta
from .safetensors_format import SUFFIX, read_model
from .tacotron2 import Tacotron2
from .waveglow import WaveGlow
from .weights import check_dtypes, check_finite, fold_weight_norm

AUDIO_KEYS = ("sampling_rate", "hop_length", "filter_length", "win_length", "mel_fmin", "mel_fmax", "n_mel_channels")
LONGEST_MESSAGE = 600  # characters

Model = TypeVar("Model", Tacotron2, WaveGlow, HiFiGAN)


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    model: ModelName
    family: str
    config: Mapping[str, Any]  # the settings that the file states
    tensors: dict[str, Tensor]  # float32, under this package's names
    keys: dict[str, str]  # this package's name -> the name in the file, for messages
    audio: dict[str, float]  # the file's audio settings, empty if it has none


def load_tacotron2(path: str | Path) -> Tacotron2:
    """Load a Tacotron 2 checkpoint into float32 modules in eval mode.

    `.family` names the checkpoint's family, `.audio` has the file's audio settings, if any.
    Raises CheckpointError, naming the file and the problem.
    """

    def build(checkpoint: Checkpoint, shapes: Mapping[str, Any]) -> Callable[[], Tacotron2]:
        values = {**asdict(Tacotron2Config()), **shapes, **checkpoint.config}
        config = config_from_dict(Tacotron2Config, values, str(checkpoint.path))
        return lambda: Tacotron2(config)

    return _load(path, "tacotron2", tacotron2_dimensions, build)


def load_waveglow(path: str | Path, hop_length: int | None = None) -> WaveGlow:
    """Load a WaveGlow checkpoint into float32 modules in eval mode; `.family` and `.audio` as in load_tacotron2.

    hop_length (samples) is used if the file does not state one; None: a quarter of the upsampling kernel, as in the
    published model. Raises CheckpointError, naming the file and the problem.
    """

    def build(checkpoint: Checkpoint, shapes: Mapping[str, Any]) -> Callable[[], WaveGlow]:
        hop = checkpoint.audio.get("hop_length", hop_length or max(shapes["upsample_kernel"] // 4, 1))
        if hop != int(hop):
            raise CheckpointError(f"hop_length: expected a whole number of samples, got {hop}")
        # If no channels leave the flow early, the shapes do not determine n_early_every and n_early_size.
        base = {**asdict(WaveGlowConfig()), "n_early_every": shapes["n_flows"], "upsample_stride": int(hop)}
        config = config_from_dict(WaveGlowConfig, _merge({**base, **shapes}, checkpoint.config), str(checkpoint.path))
        return lambda: WaveGlow(config)

    return _load(path, "waveglow", waveglow_dimensions, build)


def load_hifigan(path: str | Path) -> HiFiGAN:
    """Load a HiFi-GAN generator into a float32 module in eval mode; `.family` and `.audio` as in load_tacotron2.

    Raises CheckpointError, naming the file and the problem; also if the checkpoint and its config.json do not state
    the upsampling rates and dilations, which the weights do not determine.
    """

    def build(checkpoint: Checkpoint, shapes: Mapping[str, Any]) -> Callable[[], HiFiGAN]:
        config = hifigan_config({**checkpoint.config, **shapes}, str(checkpoint.path))
        hop = checkpoint.audio.get("hop_length", config.hop_length)
        if hop != config.hop_length:
            raise CheckpointError(
                f"upsample_rates: expected the product {hop:g}, the hop_length, got {config.hop_length}"
            )
        return lambda: HiFiGAN(config)

    return _load(path, "hifigan", hifigan_dimensions, build)


def _load(
    path: str | Path,
    model: ModelName,
    infer_dimensions: Callable[[Mapping[str, Tensor]], dict[str, Any]],
    build: Callable[[Checkpoint, Mapping[str, Any]], Callable[[], Model]],
) -> Model:
    """Read a checkpoint into a module.

    build: returns the module's constructor, given the checkpoint and the dimensions inferred from the weights.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    with _prefix_errors(path):
        if checkpoint.model != model:
            raise CheckpointError(
                f"expected a {model} checkpoint, got {checkpoint.model} ({checkpoint.family}); "
                f"give it as --{checkpoint.model}"
            )
        shapes = infer_dimensions(checkpoint.tensors)
        _check_agreement(checkpoint.config, shapes)
        module = load_on_meta(build(checkpoint, shapes), checkpoint.tensors, checkpoint.keys)
    module.audio, module.family = checkpoint.audio, checkpoint.family
    return module


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError, naming the file, if it is damaged or its family is unknown."""
    path = Path(path)
    with _prefix_errors(path):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise CheckpointError(f"{found}; give the path of a checkpoint, or use --demo")
        checkpoint = _read_safetensors(path) if path.suffix == SUFFIX else _read_archive(path)
        if checkpoint.audio.get("hop_length", 1) < 1:
            raise CheckpointError(f"hop_length: expected at least 1, got {checkpoint.audio['hop_length']}")
        return checkpoint


@contextmanager
def _prefix_errors(path: Path) -> Iterator[None]:
    """Prefix the message of every CheckpointError with the path; limit it to one line.

    A hostile file's sizes, types and nesting can cause errors of a dozen types in torch and in the families' code: they
    become CheckpointErrors too.
    """
    try:
        yield
    except CheckpointError as error:
        # Names in the file may contain line breaks or be very long.
        message = " ".join(str(error).removeprefix(f"{path}: ").split())
        raise CheckpointError(f"{path}: {message[:LONGEST_MESSAGE]}") from error
    except OSError:
        raise
    except Exception as error:
        what = f"has unusable sizes, types or nesting ({type(error).__name__})"
        if isinstance(error, MemoryError):
            what = "needs more memory than there is"
        raise CheckpointError(f"{path}: {what}; check that it is the file that the training run saved") from error


def _read_archive(path: Path) -> Checkpoint:
    with open_archive(path) as archive:
        layout = recognize(archive.content, functools.partial(read_adjacent_config, path))
        keys = dict(layout.keys)
        check_dtypes({name: record.dtype for name, record in layout.tensors.items()}, keys)
        tensors = read_tensors(archive, layout.tensors)
    check_finite(tensors, keys)
    folded = layout.convert_weights(fold_weight_norm(tensors))
    return Checkpoint(path, layout.model, layout.family, layout.config, folded, keys, _audio_settings(layout.audio))


def _read_safetensors(path: Path) -> Checkpoint:
    saved = read_model(path)
    keys = {name: name for name in saved.tensors}
    check_dtypes({name: value.dtype for name, value in saved.tensors.items()}, keys)
    tensors = {name: value.float() for name, value in saved.tensors.items()}
    check_finite(tensors, keys)
    audio = _audio_settings({"audio": saved.audio})
    return Checkpoint(path, saved.model, saved.family, saved.config, tensors, keys, audio)


def _audio_settings(content: Mapping[str, Any]) -> dict[str, float]:
    config = content.get("config")
    inside = config.get("audio") if isinstance(config, Mapping) else None
    found: dict[str, float] = {}
    for place in (config, inside, content.get("data_config"), content.get("audio")):
        if isinstance(place, Mapping):
            found.update({key: place[key] for key in AUDIO_KEYS if _is_number(place.get(key))})
    for key, value in found.items():
        if not abs(value) <= LARGEST_SETTING:
            raise CheckpointError(f"{key}: expected at most {LARGEST_SETTING:,}, got {shown(value)}")
    return found


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _merge(base: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return base updated with the stated values; WN_config is updated entry by entry."""
    merged = {**base, **stated}
    if isinstance(stated.get("WN_config"), Mapping):
        merged["WN_config"] = {**base["WN_config"], **stated["WN_config"]}
    return merged


def _check_agreement(stated: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Check stated dimensions against those of the weights. Values of a wrong type are left to config_from_dict."""
    for name, size in shapes.items():
        value = stated.get(name, size)
        if isinstance(size, Mapping):
            _check_agreement(value if isinstance(value, Mapping) else {}, size)
        elif isinstance(size, tuple):
            if tuples(value) != size:
                raise CheckpointError(
                    f"config {name!r} does not match the weights: expected {list(size)}, got {shown(value)}"
                )
        elif _is_number(value) and value == int(value) != size:
            raise CheckpointError(f"config {name!r} does not match the weights: expected {size}, got {shown(value)}")
