"""Loads the models with the names and keywords of NVIDIA's torch.hub entry points; hubconf.py offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from .checkpoint import load_hifigan, load_tacotron2, load_waveglow
from .config import Tacotron2Config, WaveGlowConfig, WNConfig, config_from_dict
from .denoiser import Denoiser
from .download import fetch_pretrained
from .hifigan import HiFiGAN
from .hifigan_config import HiFiGANConfig, hifigan_config
from .tacotron2 import Tacotron2
from .waveglow import WaveGlow

# Keywords of NVIDIA's constructor that only affect training; accepted and ignored, so that existing code runs.
_TRAINING_ONLY = ("mask_padding", "p_attention_dropout", "p_decoder_dropout")
# Settings that do not affect the shape of any weight, so they are accepted for trained models too.
_LIMITS = ("max_decoder_steps", "gate_threshold")

_Config = TypeVar("_Config", Tacotron2Config, WaveGlowConfig)


def nvidia_tacotron2(
    pretrained: bool = True,
    *,
    model_math: str = "fp32",
    force_reload: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    **dimensions: Any,
) -> Tacotron2:
    """Load Tacotron 2 in eval mode on the CPU. torch.hub adds `text_to_sequence(text, cleaner_names)` to the model.

    pretrained: load NVIDIA's published LJ Speech voice, downloaded once. With pretrained=False, `checkpoint` is the
    path of your own file; without a path, the weights are random and the fields of Tacotron2Config are keywords.
    model_math: "fp32", or "fp16" for half precision (and the published checkpoint trained with mixed precision).
    force_reload: download again (torch.hub.load has a keyword of the same name and does not pass it on).
    max_decoder_steps (decoder steps) and gate_threshold (a probability) are always accepted.

    Raises TypeError for an unknown keyword, and the CheckpointError or DownloadError of tacoglow.models.
    """
    where = "nvidia_tacotron2"
    values = {name: value for name, value in dimensions.items() if name not in _TRAINING_ONLY}
    trained = pretrained or checkpoint is not None
    _check_keywords(where, trained, values, _LIMITS if trained else _fields(Tacotron2Config))
    path = _checkpoint_path("tacotron2", pretrained, model_math, force_reload, checkpoint)
    if path is None:
        model = Tacotron2(_update_config(Tacotron2Config(), values, where))
    else:
        model = load_tacotron2(path)
        model.config = _update_config(model.config, values, where)
    return model.half() if model_math == "fp16" else model


def nvidia_waveglow(
    pretrained: bool = True,
    *,
    model_math: str = "fp32",
    force_reload: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    **dimensions: Any,
) -> WaveGlow:
    """Load WaveGlow in eval mode on the CPU; weight norm is already folded, so remove_weightnorm does nothing.

    The keywords up to `checkpoint` are those of nvidia_tacotron2. With random weights, the fields of WaveGlowConfig are
    keywords, and n_layers, n_channels and kernel_size of the couplings' networks.
    """
    own, couplings = _fields(WaveGlowConfig, without="WN_config"), _fields(WNConfig)
    trained = pretrained or checkpoint is not None
    _check_keywords("nvidia_waveglow", trained, dimensions, () if trained else (*own, *couplings))
    path = _checkpoint_path("waveglow", pretrained, model_math, force_reload, checkpoint)
    if path is None:
        values = {name: value for name, value in dimensions.items() if name in own}
        values["WN_config"] = {name: value for name, value in dimensions.items() if name in couplings}
        model = WaveGlow(_update_config(WaveGlowConfig(), values, "nvidia_waveglow"))
    else:
        model = load_waveglow(path)
    return model.half() if model_math == "fp16" else model


def nvidia_hifigan(
    pretrained: bool = True,
    *,
    model_math: str = "fp32",
    force_reload: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    **dimensions: Any,
) -> tuple[HiFiGAN, dict[str, float], Denoiser | None]:
    """Load HiFi-GAN: the generator in eval mode on the CPU, its training's audio settings, and a denoiser.

    The generator turns mels [B, 80, F] into audio [B, 1, F * 256]. The denoiser is None for random weights, and float32
    always. NVIDIA's page uses a denoising strength of 0.005; WaveGlow's 0.1 would ruin the speech.
    The keywords up to `checkpoint` are those of nvidia_tacotron2. With random weights, the fields of HiFiGANConfig are
    keywords.
    """
    trained = pretrained or checkpoint is not None
    _check_keywords("nvidia_hifigan", trained, dimensions, () if trained else _fields(HiFiGANConfig))
    path = _checkpoint_path("hifigan", pretrained, model_math, force_reload, checkpoint)
    if path is None:
        model = HiFiGAN(hifigan_config({**asdict(HiFiGANConfig()), **dimensions}, "nvidia_hifigan"))
    else:
        model = load_hifigan(path)
    setup = {"num_mels": model.n_mel_channels, "max_wav_value": 32768.0, "hop_length": model.hop_length, **model.audio}
    denoiser = Denoiser(model, int(setup.get("filter_length", 1024))) if trained else None
    return model.half() if model_math == "fp16" else model, setup, denoiser


class TTSUtils:
    """Helpers that turn texts into a batch of token ids for Tacotron 2."""

    def __init__(self, text_to_sequence: Callable[[str, Sequence[str]], list[int]]) -> None:
        """text_to_sequence: converts a text to token ids with the cleaners of these names."""
        self.text_to_sequence = text_to_sequence

    @staticmethod
    def pad_sequences(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Token ids, an int tensor [T] per item -> int64 ids [B, T] padded with 0, and int64 lengths [B].

        As in NVIDIA's code, items are returned sorted by decreasing length (stable); the original order is not
        restored. The models here accept a batch in any order; only NVIDIA's need it sorted.
        Raises ValueError if there are no items or if an item is empty.
        """
        if not batch or min(len(item) for item in batch) == 0:
            raise ValueError("pad_sequences: expected at least one item and at least one token in each")
        longest_first = sorted((item.long() for item in batch), key=len, reverse=True)
        lengths = torch.tensor([len(item) for item in longest_first])
        return torch.nn.utils.rnn.pad_sequence(longest_first, batch_first=True), lengths

    def prepare_input_sequence(self, texts: Sequence[str], cpu_run: bool = False) -> tuple[Tensor, Tensor]:
        """Texts -> the ids and lengths of `pad_sequences`, cleaned with english_cleaners; the longest text comes first.

        The tensors are on the GPU, unless cpu_run is set or there is no GPU.
        """
        ids = [torch.tensor(self.text_to_sequence(text, ["english_cleaners"])) for text in texts]
        padded, lengths = self.pad_sequences(ids)
        device = "cpu" if cpu_run or not torch.cuda.is_available() else "cuda"
        return padded.to(device), lengths.to(device)


def _checkpoint_path(
    model: Literal["tacotron2", "waveglow", "hifigan"],
    pretrained: bool,
    model_math: str,
    force_reload: bool,
    checkpoint: str | PathLike[str] | None,
) -> Path | None:
    """Return the path of the file to load; None for random weights."""
    if model_math not in ("fp32", "fp16"):
        raise ValueError(f"nvidia_{model}: model_math should be 'fp32' or 'fp16', got {model_math!r}")
    if pretrained and checkpoint is not None:
        raise TypeError(f"nvidia_{model}: checkpoint needs pretrained=False, got pretrained=True")
    if pretrained:
        return fetch_pretrained(model, "fp16" if model_math == "fp16" else "fp32", force=force_reload)
    return None if checkpoint is None else Path(checkpoint)


def _check_keywords(where: str, trained: bool, values: Mapping[str, Any], accepted: Sequence[str]) -> None:
    for name in values:
        if name not in accepted:
            known = ", ".join(("model_math", "force_reload", "checkpoint", *accepted))
            weights = "trained" if trained else "random"
            raise TypeError(
                f"{where} with {weights} weights does not accept keyword {name!r}; accepted keywords: {known}"
            )


def _fields(config: type[Any], without: str = "") -> list[str]:
    return [entry.name for entry in fields(config) if entry.name != without]


def _update_config(config: _Config, changes: Mapping[str, Any], where: str) -> _Config:
    """Return `config` with `changes` applied, validated like a checkpoint's config."""
    values = asdict(config)
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return config_from_dict(type(config), values, where)
