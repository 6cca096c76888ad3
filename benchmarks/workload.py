"""Workloads, the same for every pipeline: a batch of utterances with a fixed number of tokens and frames.

The gate is switched off, so that every pipeline does the same work whatever its weights are.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.bundle.manifest import Manifest
from ..runtime.errors import RequestError
from ..runtime.noise import Noise
from ..text import FrontEnd

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. "


@dataclass(frozen=True)
class Workload:
    batch: int = 1
    tokens: int = 64  # per item
    frames: int = 150  # per item

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.tokens} tokens, {self.frames} frames"

    def noises(self) -> list[Noise]:
        """Return one noise per item."""
        return [Noise(seed) for seed in range(self.batch)]

    def audio_seconds(self, samples_per_frame: int, sampling_rate: int) -> float:
        """Length of all items together, in seconds."""
        return self.batch * self.frames * samples_per_frame / sampling_rate


@dataclass(frozen=True)
class Preset:
    """A measurement protocol; every combination of batches and tokens is one workload."""

    batches: tuple[int, ...] = (1,)
    tokens: tuple[int, ...] = (64,)
    frames: int = 150
    runs: int = 5  # timed, per pipeline and workload
    warmups: int = 1  # per pipeline and workload


# "nvidia" is the protocol of the tables published with NVIDIA's example: 128 characters at batch 1 and 4. The published
# utterances end when the gate fires, after about 600 frames on average; here all utterances have that length.
PRESETS = {"default": Preset(), "nvidia": Preset(batches=(1, 4), tokens=(128,), frames=600, runs=20, warmups=3)}


def token_ids(front_end: FrontEnd, tokens: int) -> list[int]:
    """Return this many ids of an English text, or copies of id 1 if the voice has no symbols for the text."""
    ids = front_end.encode(TEXT) if front_end.count_tokens(TEXT) else [1]
    return (ids * (1 + tokens // len(ids)))[:tokens]


def check_limits(work: Workload, manifest: Manifest) -> None:
    """Raise RequestError if the workload exceeds the bundle's limits, or its frames are not whole decoder steps."""
    for letter, got, option in (("B", work.batch, "batch"), ("T", work.tokens, "tokens"), ("F", work.frames, "frames")):
        limit = manifest.range(letter)
        if not limit.min <= got <= limit.max:
            raise RequestError(f"--{option}: expected {limit.min} to {limit.max} (the bundle's limits), got {got}")
    if work.frames % manifest.decoder.frames_per_step:
        raise RequestError(
            f"--frames: expected a multiple of {manifest.decoder.frames_per_step}, the voice's frames per decoder "
            f"step, got {work.frames}"
        )
