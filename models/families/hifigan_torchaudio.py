"""HiFi-GAN of torchaudio: a bare state dict without weight norm, whose configuration is in torchaudio's code.

The only published one is HIFIGAN_VOCODER_V3_LJSPEECH, jik876's LJ_V3 converted. A state dict whose shapes are exactly
its own is read with its settings, unless a config.json states others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .hifigan_generator import Generator, audio, plan
from .state import State

# torchaudio/prototype/pipelines/hifigan_pipeline.py
_CONFIG: dict[str, Any] = {
    "upsample_rates": (8, 8, 4),
    "upsample_kernel_sizes": (16, 16, 8),
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": (3, 5, 7),
    "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)),
}
_AUDIO = {
    "sampling_rate": 22050,
    "n_fft": 1024,
    "hop_length": 256,
    "win_length": 1024,
    "mel_fmin": 0.0,
    "mel_fmax": 8000.0,
}
_SHAPES = {
    "conv_pre.weight": (256, 80, 7),
    "ups.0.weight": (256, 128, 16),
    "ups.1.weight": (128, 64, 16),
    "ups.2.weight": (64, 32, 8),
    "resblocks.0.convs.1.weight": (128, 128, 3),
    "resblocks.1.convs.1.weight": (128, 128, 5),
    "resblocks.8.convs.1.weight": (32, 32, 7),
}


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if state.content or plan(adjacent_config).get("upsample_rates"):
        return None
    if any(name not in state.tensors or state.tensors[name].size != size for name, size in _SHAPES.items()):
        return None
    return Generator("torchaudio", {name: name for name in state.tensors}, plan(_CONFIG), audio(_AUDIO))
