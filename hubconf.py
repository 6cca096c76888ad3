"""Entry points for torch.hub, under the names and keywords of NVIDIA's own.

    tacotron2 = torch.hub.load("path/to/this/repository", "nvidia_tacotron2", source="local")

torch.hub offers every public callable of this module as an entry point, so what is imported here is a module
or has an underscore.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import sys
import typing

import torch

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from tacoglow.models import Tacotron2, Tacotron2Config, WaveGlow, WaveGlowConfig

    _Config = typing.TypeVar("_Config", Tacotron2Config, WaveGlowConfig)

dependencies = ["torch", "unidecode", "inflect", "rich"]

# Keywords of NVIDIA's constructor that act in training alone: taken, so that code with them still runs.
_TRAINING_ONLY = ("mask_padding", "p_attention_dropout", "p_decoder_dropout")
# Settings that no weight's shape depends on: they may be given for a trained model too.
_LIMITS = ("max_decoder_steps", "gate_threshold")


def _make_importable() -> None:
    """Import this folder as the package tacoglow, unless one is installed.

    torch.hub puts this folder on sys.path, but here the folder itself is the package: its modules import each
    other relatively, and a clone's folder need not have the package's name.
    """
    found = importlib.util.find_spec("tacoglow")
    if found is not None and found.origin is not None:  # without origin, a stray folder of that name
        return
    root = pathlib.Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "tacoglow", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None, "a path that ends in .py always has a spec"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tacoglow"] = module
    spec.loader.exec_module(module)


_make_importable()


def nvidia_tacotron2(
    pretrained: bool = True,
    *,
    model_math: str = "fp32",
    force_reload: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    **dimensions: typing.Any,
) -> Tacotron2:
    """Tacotron 2 in eval mode on the CPU, with `text_to_sequence(text, cleaner_names)` as an attribute.

    pretrained: NVIDIA's published LJ Speech voice, downloaded once. With pretrained=False, `checkpoint` names
    one's own file; without that the weights are random and Tacotron2Config's fields are keywords.
    model_math: "fp32", or "fp16" for half precision (and the published checkpoint that was trained with it).
    force_reload: download again (torch.hub.load has a keyword of the same name and keeps it to itself).
    max_decoder_steps (frames) and gate_threshold (a probability) are keywords in every case.

    Raises TypeError for an unknown keyword, and the CheckpointError or DownloadError of tacoglow.models.
    """
    from tacoglow.models import Tacotron2, Tacotron2Config, load_tacotron2
    from tacoglow.text import text_to_sequence

    where = "nvidia_tacotron2"
    given = {name: value for name, value in dimensions.items() if name not in _TRAINING_ONLY}
    trained = pretrained or checkpoint is not None
    _check_keywords(where, trained, given, _LIMITS if trained else _fields(Tacotron2Config))
    path = _checkpoint_path("tacotron2", pretrained, model_math, force_reload, checkpoint)
    if path is None:
        model = Tacotron2(_configured(Tacotron2Config(), given, where))
    else:
        model = load_tacotron2(path)
        model.config = _configured(model.config, given, where)
    model.text_to_sequence = text_to_sequence  # type: ignore[assignment]  # torch lets a function be
    return model.half() if model_math == "fp16" else model


def nvidia_waveglow(
    pretrained: bool = True,
    *,
    model_math: str = "fp32",
    force_reload: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    **dimensions: typing.Any,
) -> WaveGlow:
    """WaveGlow in eval mode on the CPU; weight norm is folded, so remove_weightnorm has nothing left to do.

    The keywords are those of nvidia_tacotron2; with random weights, the fields of WaveGlowConfig and, for the
    couplings' networks, n_layers, n_channels and kernel_size.
    """
    from tacoglow.models import WaveGlow, WaveGlowConfig, load_waveglow
    from tacoglow.models.config import WNConfig

    own, couplings = _fields(WaveGlowConfig, but="WN_config"), _fields(WNConfig)
    trained = pretrained or checkpoint is not None
    _check_keywords("nvidia_waveglow", trained, dimensions, () if trained else (*own, *couplings))
    path = _checkpoint_path("waveglow", pretrained, model_math, force_reload, checkpoint)
    if path is None:
        given = {name: value for name, value in dimensions.items() if name in own}
        given["WN_config"] = {name: value for name, value in dimensions.items() if name in couplings}
        model = WaveGlow(_configured(WaveGlowConfig(), given, "nvidia_waveglow"))
    else:
        model = load_waveglow(path)
    return model.half() if model_math == "fp16" else model


def nvidia_tts_utils() -> _TTSUtils:
    """What turns texts into a batch of token ids for Tacotron 2."""
    return _TTSUtils()


class _TTSUtils:
    @staticmethod
    def text_to_sequence(text: str, cleaner_names: Sequence[str]) -> list[int]:
        """Token ids of `text`, NVIDIA's to the letter."""
        from tacoglow.text import text_to_sequence

        return text_to_sequence(text, cleaner_names)

    @staticmethod
    def pad_sequences(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Token ids, an int tensor [T] an item -> int64 ids [B, T] padded with 0, and int64 lengths [B].

        As in NVIDIA's, items come back sorted by decreasing length (those of one length in the given order),
        and the given order is lost. The models here take a batch in any order; only NVIDIA's need it sorted.
        """
        if not batch or min(len(item) for item in batch) == 0:
            raise ValueError("pad_sequences: expected at least one item and at least one token in each")
        longest_first = sorted((item.long() for item in batch), key=len, reverse=True)
        lengths = torch.tensor([len(item) for item in longest_first])
        return torch.nn.utils.rnn.pad_sequence(longest_first, batch_first=True), lengths

    @staticmethod
    def prepare_input_sequence(texts: Sequence[str], cpu_run: bool = False) -> tuple[Tensor, Tensor]:
        """Texts -> `pad_sequences` of their ids by english_cleaners.

        They lie on the GPU, unless cpu_run is set or there is none. As in NVIDIA's, the longest comes first.
        """
        ids = [torch.tensor(_TTSUtils.text_to_sequence(text, ["english_cleaners"])) for text in texts]
        padded, lengths = _TTSUtils.pad_sequences(ids)
        device = "cpu" if cpu_run or not torch.cuda.is_available() else "cuda"
        return padded.to(device), lengths.to(device)


def _checkpoint_path(
    model: typing.Literal["tacotron2", "waveglow"],
    pretrained: bool,
    model_math: str,
    force_reload: bool,
    checkpoint: str | os.PathLike[str] | None,
) -> pathlib.Path | None:
    """The file to load; None for random weights."""
    from tacoglow.models.download import fetch_pretrained

    if model_math not in ("fp32", "fp16"):
        raise ValueError(f"nvidia_{model}: model_math should be 'fp32' or 'fp16', got {model_math!r}")
    if pretrained and checkpoint is not None:
        raise TypeError(f"nvidia_{model}: a checkpoint of one's own needs pretrained=False")
    if pretrained:
        return fetch_pretrained(model, "fp16" if model_math == "fp16" else "fp32", force=force_reload)
    return None if checkpoint is None else pathlib.Path(checkpoint)


def _check_keywords(where: str, trained: bool, given: Mapping[str, typing.Any], accepted: Sequence[str]) -> None:
    for name in given:
        if name not in accepted:
            known = ", ".join(("model_math", "force_reload", "checkpoint", *accepted))
            weights = "trained" if trained else "random"
            raise TypeError(f"{where} with {weights} weights takes no keyword {name!r}; it takes {known}")


def _fields(config: type[typing.Any], but: str = "") -> list[str]:
    return [entry.name for entry in dataclasses.fields(config) if entry.name != but]


def _configured(config: _Config, given: Mapping[str, typing.Any], where: str) -> _Config:
    """`config` with the given values in place of its own, checked as those of a checkpoint are."""
    from tacoglow.models.config import config_from_dict

    values = dataclasses.asdict(config)
    for name, value in given.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return config_from_dict(type(config), values, where)
