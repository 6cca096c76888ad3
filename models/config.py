"""Dimensions of the two models, as stated in their checkpoints.

Field names and defaults are those of NVIDIA's published configs, so that a checkpoint's `config` is read unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from .errors import CheckpointError, shown

LARGEST_SETTING = 1_000_000  # bound of every setting
MAX_WN_LAYERS = 20  # dilations up to 2^19


@dataclass(frozen=True)
class Tacotron2Config:
    n_mel_channels: int = 80
    n_symbols: int = 148
    symbols_embedding_dim: int = 512
    encoder_kernel_size: int = 5
    encoder_n_convolutions: int = 3
    encoder_embedding_dim: int = 512  # sum of both directions of the LSTM
    attention_rnn_dim: int = 1024
    attention_dim: int = 128
    attention_location_n_filters: int = 32
    attention_location_kernel_size: int = 31
    n_frames_per_step: int = 1  # the reduction factor r
    decoder_rnn_dim: int = 1024
    prenet_dim: int = 256
    max_decoder_steps: int = 2000
    gate_threshold: float = 0.5  # a probability: an item ends at the first step whose gate exceeds it
    postnet_embedding_dim: int = 512
    postnet_kernel_size: int = 5
    postnet_n_convolutions: int = 5

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.symbols_embedding_dim != self.encoder_embedding_dim:
            raise CheckpointError(
                "tacotron2 config: symbols_embedding_dim must equal encoder_embedding_dim "
                f"{self.encoder_embedding_dim}, got {self.symbols_embedding_dim}"
            )
        if self.encoder_embedding_dim % 2:
            raise CheckpointError(
                f"tacotron2 config: encoder_embedding_dim must be even, got {self.encoder_embedding_dim}"
            )
        for name in ("encoder_kernel_size", "attention_location_kernel_size", "postnet_kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise CheckpointError(f"tacotron2 config: {name} must be odd, got {getattr(self, name)}")

    @property
    def step_mel_size(self) -> int:
        """Mel values of all frames of one decoder step."""
        return self.n_mel_channels * self.n_frames_per_step

    @property
    def max_frames(self) -> int:
        """Frame limit of an utterance, including the frames of the step at which its gate fires."""
        return self.max_decoder_steps * self.n_frames_per_step

    @property
    def postnet_context_frames(self) -> int:
        """Context frames of the postnet: frames on either side that its output for a frame depends on."""
        return self.postnet_n_convolutions * ((self.postnet_kernel_size - 1) // 2)


@dataclass(frozen=True)
class WNConfig:
    """Dimensions of a coupling's network of dilated convolutions; the dilation doubles from layer to layer."""

    n_layers: int = 8
    n_channels: int = 256
    kernel_size: int = 3

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.n_layers > MAX_WN_LAYERS:
            raise CheckpointError(f"waveglow config: n_layers must be at most {MAX_WN_LAYERS}, got {self.n_layers}")
        if self.kernel_size % 2 == 0 or self.n_channels % 2:
            raise CheckpointError(
                f"waveglow config: kernel_size must be odd and n_channels even, "
                f"got {self.kernel_size} and {self.n_channels}"
            )


@dataclass(frozen=True)
class WaveGlowConfig:
    n_mel_channels: int = 80
    n_flows: int = 12
    n_group: int = 8  # samples per group: channels of the flow at its start
    n_early_every: int = 4
    n_early_size: int = 2
    upsample_kernel: int = 1024  # samples
    upsample_stride: int = 256  # samples per frame: the hop length
    WN_config: WNConfig = field(default_factory=WNConfig)

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.upsample_stride % self.n_group:
            raise CheckpointError(
                f"waveglow config: the hop must be a multiple of n_group {self.n_group}, "
                f"got {self.upsample_stride} samples"
            )
        if self.upsample_kernel < self.upsample_stride:
            raise CheckpointError(
                f"waveglow config: upsample_kernel must be at least the hop of {self.upsample_stride} samples, "
                f"got {self.upsample_kernel}"
            )
        if self.n_remaining_channels < 2 or any(channels % 2 for channels in self.flow_channels):
            raise CheckpointError(
                f"waveglow config: n_group {self.n_group} is too small for n_early_size {self.n_early_size} "
                f"every {self.n_early_every} of {self.n_flows} flows"
            )

    @property
    def flow_channels(self) -> list[int]:
        """Channels of each flow k: n_group minus the channels that leave early before it."""
        return [self.n_group - self.n_early_size * (k // self.n_early_every) for k in range(self.n_flows)]

    @property
    def n_remaining_channels(self) -> int:
        """Noise channels that inference starts from: those of its first flow, which is the last flow of training."""
        return self.flow_channels[-1]

    @property
    def groups_per_frame(self) -> int:
        return self.upsample_stride // self.n_group

    @property
    def receptive_field_frames(self) -> tuple[int, int]:
        """Receptive field: the number of frames (before, after) a frame that its samples depend on.

        Each flow's network sees sum((kernel - 1) / 2 * 2^i) groups on either side; the upsampling convolution adds
        the frames before the current one that its kernel spans.
        """
        wn = self.WN_config
        groups = self.n_flows * (wn.kernel_size - 1) // 2 * (2**wn.n_layers - 1)
        side = -(-groups // self.groups_per_frame)
        return side + -(-self.upsample_kernel // self.upsample_stride) - 1, side


Config = TypeVar("Config", Tacotron2Config, WaveGlowConfig, WNConfig)


def config_from_dict(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """Build a `kind` from a checkpoint's config; keys that only training uses are ignored.

    Raises CheckpointError for a missing or mistyped value, naming it and `where`.
    """
    kwargs: dict[str, Any] = {}
    for entry in fields(kind):
        if entry.name == "WN_config":
            kwargs[entry.name] = config_from_dict(WNConfig, _mapping(values, entry.name, where), where)
        elif entry.name in values:
            kwargs[entry.name] = _number(values[entry.name], entry.name, entry.default, where)
        elif entry.name not in ("upsample_kernel", "upsample_stride"):  # NVIDIA's configs do not contain these
            raise CheckpointError(f"{where}: config {entry.name!r} is missing")
    try:
        return kind(**kwargs)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _mapping(values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = values.get(name)
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where}: config {name!r} should be a dict, got {type(value).__name__}")
    return value


def _number(value: Any, name: str, default: Any, where: str) -> Any:
    wanted = float if isinstance(default, float) else int
    if isinstance(value, bool) or not isinstance(value, (int, wanted)):
        raise CheckpointError(f"{where}: config {name!r} should be a number ({wanted.__name__}), got {shown(value)}")
    if not abs(value) <= LARGEST_SETTING:  # true for NaN too
        raise CheckpointError(
            f"{where}: config {name!r} should be at most {LARGEST_SETTING:,} in magnitude, got {shown(value)}"
        )
    return wanted(value)


def _check_positive(config: Any) -> None:
    for entry in fields(config):
        value = getattr(config, entry.name)
        if isinstance(value, (int, float)) and value <= 0:
            raise CheckpointError(f"{type(config).__name__}: {entry.name} must be positive, got {value}")
