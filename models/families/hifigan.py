"""HiFi-GAN: finds the family of a generator, and infers what its weights determine.

Each family (hifigan_families.py, hifigan_coqui.py) maps its names to jik876's and its configuration to `Generator`.
Strides and dilations, which shapes do not determine, must be stated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..weights import count_of, dimension
from . import hifigan_families as families
from .hifigan_coqui import coqui
from .hifigan_generator import Generator
from .layout import Layout
from .state import State

# The most specific names come first; jik876's are also those of bare state dicts.
_FAMILIES = (
    families.speecht5,
    families.parallel_wavegan,
    families.speechbrain,
    families.nemo,
    coqui,
    families.nvidia,
    families.torchaudio,
    families.jik876,
)
# Name parts of tensors that only other generators have -> their extra input.
_EXTRA_INPUTS = {
    "cond_layer.": "a speaker embedding",
    "conds.": "a speaker embedding",
    "cond.": "a speaker embedding",
    "global_conv.": "a speaker embedding",
    "lin_pre.": "WavLM features",
    "unit_embedding.": "speech units",
    "downsamples.": "the pitch (uHiFiGAN)",
    "m_source.": "the pitch (NSF-HiFiGAN)",
    "noise_convs.": "the pitch (NSF-HiFiGAN)",
}
_NESTED = re.compile(r"^resblocks\.(\d+)\.(\d+)\.(?=convs)")


def read(state: State, read_adjacent_config: Callable[[], Mapping[str, Any]]) -> Layout | None:
    """Return the layout, None if the names are not those of a generator.

    Raises CheckpointError for a generator that needs more than a mel, or a family whose settings do not fit.
    """
    if not state.has("conv_pre.", "input_conv."):
        return None
    for part, what in _EXTRA_INPUTS.items():
        if state.has(part):
            raise CheckpointError(
                f"a HiFi-GAN generator that also takes {what} ({part[:-1]}), which a Tacotron 2 does not give; "
                "use a generator that takes mels alone"
            )
    adjacent_config = read_adjacent_config() if state.config is None else {}
    for read_family in _FAMILIES:
        generator = read_family(state, adjacent_config)
        if generator is not None:
            return _layout(state, generator)
    return None


def _layout(state: State, generator: Generator) -> Layout:
    names = _flatten(generator.names)
    return Layout(
        family=generator.family,
        model="hifigan",
        tensors={new: state.tensors[old] for old, new in names.items()},
        keys={new: state.keys[old] for old, new in names.items()},
        config=generator.config,
        audio={"audio": generator.audio},
        convert_weights=generator.convert_weights,
    )


def _flatten(names: Mapping[str, str]) -> dict[str, str]:
    """Number residual blocks through all stages, where a family numbers them within their stage."""
    found = [match for name in names.values() if (match := _NESTED.match(name))]
    per_stage = 1 + max((int(match[2]) for match in found), default=0)

    def number(match: re.Match[str]) -> str:
        return f"resblocks.{int(match[1]) * per_stage + int(match[2])}."

    return {old: _NESTED.sub(number, new) for old, new in names.items()}


def dimensions(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the fields of HiFiGANConfig that tensor shapes determine; the tensors have this package's names.

    Raises CheckpointError, naming the tensor, if one that is needed is missing.
    """
    stages = count_of(tensors, "ups.{}.weight")
    resblock = 1 if "resblocks.0.convs1.0.weight" in tensors else 2
    convolutions = "convs1" if resblock == 1 else "convs"
    blocks = count_of(tensors, "resblocks.{}." + f"{convolutions}.0.weight")
    per_stage = blocks // max(stages, 1)
    if not stages or not per_stage or blocks != stages * per_stage:
        raise CheckpointError(
            f"ups, resblocks: expected the same number of residual blocks after each upsampling, "
            f"got {blocks} blocks for {stages} upsamplings"
        )
    first = [f"resblocks.{j}.{convolutions}." for j in range(per_stage)]
    return {
        "n_mel_channels": dimension(tensors, "conv_pre.weight", 1),
        "resblock": resblock,
        "upsample_kernel_sizes": tuple(dimension(tensors, f"ups.{i}.weight", 2) for i in range(stages)),
        "upsample_initial_channel": dimension(tensors, "conv_pre.weight", 0),
        "resblock_kernel_sizes": tuple(dimension(tensors, f"{block}0.weight", 2) for block in first),
        "affine_mel": "mel_scale" in tensors,
    }
