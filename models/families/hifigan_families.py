"""Generators of the families whose names and settings need no conversion of their own file, one function for each.

A function takes the state and the configuration of the checkpoint's folder. It returns a `Generator`, or None if the
names are not its family's. Coqui TTS is in hifigan_coqui.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, shown
from .hifigan_generator import LN10, Generator, affine_mel, audio, plan, section
from .layout import ConvertWeights
from .state import State

_SPEECHBRAIN_LAYER = re.compile(r"\.conv\.(?=[^.]+$|parametrizations\.)")
# torchaudio/prototype/pipelines/hifigan_pipeline.py: the only published one is jik876's LJ_V3, converted.
_TORCHAUDIO: dict[str, Any] = {
    "upsample_rates": (8, 8, 4),
    "upsample_kernel_sizes": (16, 16, 8),
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": (3, 5, 7),
    "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)),
    "sampling_rate": 22050,
    "n_fft": 1024,
    "hop_length": 256,
    "win_length": 1024,
    "mel_fmin": 0.0,
    "mel_fmax": 8000.0,
}
_TORCHAUDIO_SHAPES = {
    "conv_pre.weight": (256, 80, 7),
    "ups.0.weight": (256, 128, 16),
    "ups.1.weight": (128, 64, 16),
    "ups.2.weight": (64, 32, 8),
    "resblocks.0.convs.1.weight": (128, 128, 3),
    "resblocks.1.convs.1.weight": (128, 128, 5),
    "resblocks.8.convs.1.weight": (32, 32, 7),
}


def jik876(state: State, adjacent_config: Mapping[str, Any]) -> Generator:
    """Read the authors' form: {"generator": …}, or a bare state dict, with config.json in the same folder."""
    config = state.config or adjacent_config
    return Generator("jik876/hifi-gan", _same_names(state), plan(config), audio(config))


def nvidia(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read NVIDIA DeepLearningExamples: configuration and audio settings are in the file.

    Newer files number residual blocks within their stage, and weights may have a fourth dimension of size 1.
    """
    if state.config is None or "train_setup" not in state.content:
        return None
    settings = audio(section(state.content, "train_setup"))
    return Generator("NVIDIA DeepLearningExamples", _same_names(state), plan(state.config), settings)


def nemo(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read NVIDIA NeMo: a .nemo file, or the weights inside it next to model_config.yaml, which has the plan."""
    config = section(adjacent_config, "generator")
    if not state.prefix.endswith("generator.") or not config:
        return None
    return Generator("NVIDIA NeMo", _same_names(state), plan(config), audio(section(adjacent_config, "preprocessor")))


def speechbrain(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read SpeechBrain: a bare state dict, with hyperparams.yaml in the same folder.

    Its convolutions pad by reflection, so the first and the last frames differ from those of other families.
    """
    if not state.has("conv_pre.conv."):
        return None
    names = {name: _SPEECHBRAIN_LAYER.sub(".", name) for name in state.tensors}
    generator = section(adjacent_config, "generator") or adjacent_config
    config = plan(adjacent_config) | plan(generator) | {"padding_mode": "reflect"}
    return Generator("SpeechBrain", names, config, audio(adjacent_config))


def torchaudio(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read torchaudio's HIFIGAN_VOCODER_V3_LJSPEECH: a bare state dict without weight norm, settings in its code.

    Only a state dict of exactly its shapes is taken for it, unless a config.json states other settings.
    """
    if state.content or plan(adjacent_config).get("upsample_rates"):
        return None
    shapes = _TORCHAUDIO_SHAPES.items()
    if any(name not in state.tensors or state.tensors[name].size != size for name, size in shapes):
        return None
    return Generator("torchaudio", _same_names(state), plan(_TORCHAUDIO), audio(_TORCHAUDIO))


def speecht5(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Read SpeechT5HifiGan of Hugging Face transformers: pytorch_model.bin, with config.json in the same folder.

    Its mels are in log base 10, normalized by mean and scale inside the model if normalize_before is set. Both are one
    affine map of natural-log mels.
    """
    if not state.has("upsampler."):
        return None
    slope = adjacent_config.get("leaky_relu_slope", 0.1)
    if slope != 0.1:
        raise CheckpointError(f"leaky_relu_slope: expected 0.1, got {shown(slope)}")
    names = {name: name.replace("upsampler.", "ups.") for name in state.tensors}
    # SpeechT5's feature extractor: its config.json states the sampling rate alone.
    settings = {"n_fft": 1024, "win_length": 1024, "fmin": 80.0, "fmax": 7600.0, **adjacent_config}
    conversion = _speecht5_mel(bool(adjacent_config.get("normalize_before", True)))
    return Generator("SpeechT5", names, plan(adjacent_config), audio(settings), conversion)


def _speecht5_mel(normalizes: bool) -> ConvertWeights:
    def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: value for name, value in tensors.items() if name not in ("mean", "scale")}
        mean, scale = tensors.get("mean", torch.zeros(1)), tensors.get("scale", torch.ones(1))
        if not normalizes:
            mean, scale = torch.zeros(1), torch.ones(1)
        return affine_mel(1.0 / (LN10 * scale), -mean / scale)(rest)

    return convert


def parallel_wavegan(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    """Refuse ParallelWaveGAN and ESPnet: stats.h5, a separate file, normalizes their mels, which are in log base 10."""
    if not state.has("input_conv."):
        return None
    raise CheckpointError(
        "a HiFi-GAN of ParallelWaveGAN or ESPnet: its mels are in log base 10, normalized by a stats file, expected "
        "natural log without normalization; use a generator of jik876, NVIDIA, NeMo, Coqui TTS, SpeechBrain or SpeechT5"
    )


def _same_names(state: State) -> dict[str, str]:
    return {name: name for name in state.tensors}
