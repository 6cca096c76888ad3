"""HiFi-GAN of ParallelWaveGAN and ESPnet: rejected, as its mels are not those of a Tacotron 2 of the other families.

They are in log base 10 and normalized by the mean and scale of each band, which are in a separate file (stats.h5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from .hifigan_generator import Generator
from .state import State


def read(state: State, adjacent_config: Mapping[str, Any]) -> Generator | None:
    if not state.has("input_conv."):
        return None
    raise CheckpointError(
        "a HiFi-GAN of ParallelWaveGAN or ESPnet: its mels are in log base 10, normalized by a stats file, expected "
        "natural log without normalization; use a generator of jik876, NVIDIA, NeMo, Coqui TTS, SpeechBrain or SpeechT5"
    )
