"""HiFi-GAN of Coqui TTS and Mozilla TTS: model_g.… among the discriminator's tensors, or the generator alone.

The configuration is in the file or in config.json next to it. Its mels may have another log base, gain or range; such
an affine map from natural-log mels is applied in front of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import CheckpointError, shown
from .hifigan_generator import LN10, Generator, affine_mel, audio, convert_weights, plan, section
from .layout import ConvertWeights
from .state import State


def coqui(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read Coqui TTS. Raises CheckpointError if its mels are not an affine map of natural-log mels."""
    config = state.config or adjacent_config
    is_prefixed = state.prefix.endswith("model_g.")
    if not is_prefixed and "model_disc" not in state.content and "generator_model_params" not in config:
        return None
    settings = section(config, "audio")
    return Generator(
        "Coqui TTS",
        {name: name for name in state.tensors},
        plan(section(config, "generator_model_params")),
        audio(settings),
        _mel_conversion(settings),
    )


def _mel_conversion(settings: Mapping[str, Any]) -> ConvertWeights:
    """Build the map from natural log to gain * log_base(magnitude), then to the normalized range.

    Raises CheckpointError if that is not an affine map, or if a setting that decides it is not stated.
    """
    for name in ("signal_norm", "log_func", "spec_gain"):
        if name not in settings:
            raise CheckpointError(
                f"a HiFi-GAN of Coqui TTS whose config does not state audio.{name}; "
                "put its config.json into the same folder"
            )
    bases = {"np.log": 1.0, "np.log10": LN10}
    if settings["log_func"] not in bases:
        raise CheckpointError(f"audio.log_func: expected one of {', '.join(bases)}, got {shown(settings['log_func'])}")
    scale, shift = _number(settings, "spec_gain") / bases[settings["log_func"]], 0.0
    if settings["signal_norm"]:
        if settings.get("stats_path"):
            raise CheckpointError(
                f"audio.stats_path: expected null, got {shown(settings['stats_path'])}: the statistics are in another "
                "file, which is not read"
            )
        if settings.get("clip_norm", True):
            raise CheckpointError(
                "audio.clip_norm: expected false, got true: its mels are clipped, and those of a Tacotron 2 are not"
            )
        lowest = _number(settings, "min_level_db")
        shift = -_number(settings, "ref_level_db") - lowest
        scale, shift = scale / -lowest, shift / -lowest
        most = _number(settings, "max_norm")
        if settings.get("symmetric_norm"):
            scale, shift = 2 * most * scale, 2 * most * shift - most
        else:
            scale, shift = most * scale, most * shift
    if (scale, shift) == (1.0, 0.0):
        return convert_weights
    return affine_mel(torch.tensor([scale]), torch.tensor([shift]))


def _number(settings: Mapping[str, Any], name: str) -> float:
    value = settings.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value:
        raise CheckpointError(f"audio.{name}: expected a number other than 0, got {shown(value)}")
    return float(value)
