"""Dimensions of a HiFi-GAN generator, as its checkpoint's configuration and weights state them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from .errors import CheckpointError, shown

EDGE_KERNEL = 7  # kernel of the first and the last convolution in every published generator
LARGEST = 4096  # bound of every number in a plan: far above any generator's, too small to exhaust memory
PaddingMode = Literal["zeros", "reflect"]


@dataclass(frozen=True)
class HiFiGANConfig:
    """Field names are jik876's; the defaults are generator V1."""

    n_mel_channels: int = 80
    resblock: int = 1  # 1: two convolutions per dilation; 2: one
    upsample_rates: tuple[int, ...] = (8, 8, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (16, 16, 4, 4)
    upsample_initial_channel: int = 512
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    padding_mode: PaddingMode = "zeros"  # of all convolutions except the upsampling ones; "reflect" in SpeechBrain
    affine_mel: bool = False  # mel_scale * mel + mel_shift comes first: the checkpoint was trained on other mels

    def __post_init__(self) -> None:
        _check_plan(self)

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsample_rates)

    @property
    def stage_channels(self) -> list[int]:
        """Channels after each upsampling: they halve from stage to stage."""
        return [self.upsample_initial_channel >> (i + 1) for i in range(len(self.upsample_rates))]

    @property
    def upsample_paddings(self) -> list[int]:
        """Positions that each transposed convolution drops at either end, so that it yields rate * length."""
        pairs = zip(self.upsample_kernel_sizes, self.upsample_rates, strict=True)
        return [(kernel - rate) // 2 for kernel, rate in pairs]

    @property
    def receptive_field_frames(self) -> tuple[int, int]:
        """Number of frames (before, after) a frame that its samples depend on.

        The samples of frame 0 are walked back through the layers, from the last convolution to the first.
        """
        edge = EDGE_KERNEL // 2
        first, last = -edge, self.hop_length - 1 + edge
        plan = zip(self.upsample_rates, self.upsample_kernel_sizes, self.upsample_paddings, strict=True)
        for rate, kernel, padding in reversed(list(plan)):
            first, last = first - self._block_reach, last + self._block_reach
            # Sample o of a transposed convolution depends on the inputs i with 0 <= o + padding - rate * i < kernel.
            first, last = -((kernel - 1 - padding - first) // rate), (last + padding) // rate
        return edge - first, last + edge

    @property
    def _block_reach(self) -> int:
        """Positions on either side that the widest residual block of a stage depends on."""
        plain = 1 if self.resblock == 1 else 0  # the second convolution of a pair is not dilated
        blocks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        return max(sum(kernel // 2 * (dilation + plain) for dilation in dilations) for kernel, dilations in blocks)

    @property
    def min_frames(self) -> int:
        """Shortest mel, in frames: reflection needs more positions than a convolution pads."""
        if self.padding_mode == "zeros":
            return 1
        blocks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        widest = max(kernel // 2 * dilation for kernel, dilations in blocks for dilation in dilations)
        needed, length = [EDGE_KERNEL // 2 + 1], 1
        for rate in self.upsample_rates:
            length *= rate
            needed.append(-(-(widest + 1) // length))
        return max(needed)


def hifigan_config(values: Mapping[str, Any], where: str) -> HiFiGANConfig:
    """Build a config from a checkpoint's values. Raises CheckpointError, naming `where` and the value, if one is
    missing, mistyped or impossible."""
    kwargs: dict[str, Any] = {}
    for entry in fields(HiFiGANConfig):
        if entry.name not in values:
            raise CheckpointError(
                f"{where}: {entry.name} is not stated and cannot be inferred from the weights; "
                "put the generator's own config.json into the same folder"
            )
        kwargs[entry.name] = _convert(values[entry.name], entry.default, f"{where}: config {entry.name!r}")
    try:
        return HiFiGANConfig(**kwargs)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _convert(value: Any, default: Any, name: str) -> Any:
    """Convert lists to tuples, and check that the types are those of the default."""
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            raise CheckpointError(f"{name} should be a list, got {shown(value)}")
        return tuple(_convert(item, default[0], name) for item in value)
    if type(value) is not type(default):
        raise CheckpointError(f"{name} should be of type {type(default).__name__}, got {shown(value)}")
    return value


def _check_plan(config: HiFiGANConfig) -> None:
    for entry in fields(config):
        if any(not 1 <= number <= LARGEST for number in _numbers(getattr(config, entry.name))):
            raise CheckpointError(f"hifigan config: {entry.name}: expected numbers from 1 to {LARGEST}")
    if config.resblock not in (1, 2):
        raise CheckpointError(f"hifigan config: resblock should be 1 or 2, got {config.resblock}")
    if config.padding_mode not in get_args(PaddingMode):
        raise CheckpointError(
            f"hifigan config: padding_mode should be one of {', '.join(get_args(PaddingMode))}, "
            f"got {shown(config.padding_mode)}"
        )
    rates, kernels = config.upsample_rates, config.upsample_kernel_sizes
    if not rates or len(rates) != len(kernels):
        raise CheckpointError(
            "hifigan config: upsample_rates and upsample_kernel_sizes should have equal lengths, "
            f"got {list(rates)} and {list(kernels)}"
        )
    for rate, kernel in zip(rates, kernels, strict=True):
        if kernel < rate or (kernel - rate) % 2:
            raise CheckpointError(
                f"hifigan config: an upsampling kernel should exceed its rate by an even number, got kernel {kernel} "
                f"and rate {rate}; such a layer does not yield a whole number of samples per frame"
            )
    if config.upsample_initial_channel % 2 ** len(rates):
        raise CheckpointError(
            f"hifigan config: upsample_initial_channel should be a multiple of {2 ** len(rates)}, "
            f"got {config.upsample_initial_channel}"
        )
    sizes, dilations = config.resblock_kernel_sizes, config.resblock_dilation_sizes
    if not sizes or len(sizes) != len(dilations) or not all(dilations):
        raise CheckpointError(
            "hifigan config: resblock_dilation_sizes should have a list for each of resblock_kernel_sizes, "
            f"got {len(dilations)} for {len(sizes)}"
        )
    if any(size % 2 == 0 for size in sizes):
        raise CheckpointError(f"hifigan config: resblock_kernel_sizes should be odd, got {list(sizes)}")


def _numbers(value: Any) -> list[int]:
    """List all integers in a field's value; a bool or a string has none."""
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []
