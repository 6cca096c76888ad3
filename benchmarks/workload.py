"""What every pipeline is asked to speak: so many items, of so many tokens, for a fixed number of frames.

The gate is switched off, so that each pipeline does the same work whatever its weights are.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import RequestError
from ..runtime.manifest import Manifest
from ..runtime.noise import Noise
from ..text import FrontEnd

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. "


@dataclass(frozen=True)
class Workload:
    batch: int = 1
    tokens: int = 64  # of each item
    frames: int = 150  # of each item

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.tokens} tokens, {self.frames} frames"

    def noises(self) -> list[Noise]:
        return [Noise(seed) for seed in range(self.batch)]

    def audio_seconds(self, samples_per_frame: int, sampling_rate: int) -> float:
        """Of all items together."""
        return self.batch * self.frames * samples_per_frame / sampling_rate


@dataclass(frozen=True)
class Preset:
    """A protocol by name; runs and warm-ups are of each pipeline and workload."""

    batches: tuple[int, ...] = (1,)
    tokens: tuple[int, ...] = (64,)
    frames: int = 150
    runs: int = 5
    warmups: int = 1


# "nvidia": what the tables published with NVIDIA's example measure, 128 characters at batch 1 and 4. Their utterances
# end where the gate fires, after some 600 frames on average; here all have that length.
PRESETS = {"default": Preset(), "nvidia": Preset(batches=(1, 4), tokens=(128,), frames=600, runs=20, warmups=3)}


@dataclass(frozen=True)
class Spoken:
    mel: NDArray[np.float32]  # [B, M, F], after the postnet
    audio: NDArray[np.float32] | None  # [B, F * hop]; None where a pipeline ends with the mel


def token_ids(front_end: FrontEnd, tokens: int) -> list[int]:
    """Ids of a text of that length; of any ids, if the voice has no symbols for English."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = front_end.encode(TEXT) if front_end.count_tokens(TEXT) else [1]
    return (ids * (1 + tokens // len(ids)))[:tokens]


def check(work: Workload, manifest: Manifest) -> None:
    """Raises RequestError where the bundle does not take the workload."""
    for letter, got, option in (("B", work.batch, "batch"), ("T", work.tokens, "tokens"), ("F", work.frames, "frames")):
        limit = manifest.range(letter)
        if not limit.min <= got <= limit.max:
            raise RequestError(f"--{option}: expected {limit.min} to {limit.max} (the bundle's limits), got {got}")
    if work.frames % manifest.decoder.frames_per_step:
        raise RequestError(
            f"--frames: expected a multiple of {manifest.decoder.frames_per_step}, the voice's frames a decoder step, "
            f"got {work.frames}"
        )
