"""The numbers that are derived from WaveGlow's dimensions, against measurements."""

from __future__ import annotations

import pytest
import torch

from tacoglow.models import CheckpointError, WaveGlow, WaveGlowConfig
from tacoglow.models.config import WNConfig


def small_config(n_flows: int, n_layers: int, kernel_size: int, stride: int, kernel: int) -> WaveGlowConfig:
    return WaveGlowConfig(
        n_mel_channels=2,
        n_flows=n_flows,
        n_early_every=2,
        upsample_kernel=kernel,
        upsample_stride=stride,
        WN_config=WNConfig(n_layers=n_layers, n_channels=4, kernel_size=kernel_size),
    )


def measured_field(config: WaveGlowConfig) -> tuple[int, int]:
    """Frames (before, after) that reach a frame's samples: change one frame, see which samples move."""
    torch.manual_seed(0)
    model = WaveGlow(config).double()
    frames = 2 * sum(config.receptive_field_frames) + 5
    mel = torch.randn(1, config.n_mel_channels, frames, dtype=torch.float64)
    z = torch.randn(1, config.n_group, frames * config.groups_per_frame, dtype=torch.float64)
    changed = mel.clone()
    changed[:, :, frames // 2] += 1.0
    moved = model.infer(mel, 1.0, z) != model.infer(changed, 1.0, z)
    touched = moved.reshape(frames, config.upsample_stride).any(1).nonzero()
    return int(touched.max()) - frames // 2, frames // 2 - int(touched.min())


@pytest.mark.parametrize(
    "config",
    [
        small_config(n_flows=2, n_layers=2, kernel_size=3, stride=16, kernel=64),
        small_config(n_flows=3, n_layers=3, kernel_size=3, stride=32, kernel=64),
        small_config(n_flows=4, n_layers=1, kernel_size=5, stride=32, kernel=128),
        small_config(n_flows=1, n_layers=3, kernel_size=3, stride=16, kernel=40),
        small_config(n_flows=2, n_layers=2, kernel_size=3, stride=8, kernel=8),
    ],
)
def test_receptive_field(config: WaveGlowConfig) -> None:
    """Never less than measured. The flow that runs first sees the mel one layer less deep."""
    measured, stated = measured_field(config), config.receptive_field_frames
    for one_measured, one_stated in zip(measured, stated, strict=True):
        assert one_measured <= one_stated <= one_measured + 1


def test_receptive_field_is_exact_where_it_ends_inside_a_frame() -> None:
    config = small_config(n_flows=2, n_layers=2, kernel_size=3, stride=16, kernel=64)
    assert measured_field(config) == config.receptive_field_frames == (6, 3)


def test_published_dimensions() -> None:
    config = WaveGlowConfig()
    assert config.flow_channels == [8] * 4 + [6] * 4 + [4] * 4
    assert config.n_remaining_channels == 4
    assert config.groups_per_frame == 32
    assert config.receptive_field_frames == (99, 96)  # 12 flows of 255 groups, and 3 frames of upsampling


def test_flow_channels_where_the_last_exit_is_the_last_flow() -> None:
    config = small_config(n_flows=5, n_layers=1, kernel_size=3, stride=16, kernel=64)
    assert config.flow_channels == [8, 8, 6, 6, 4]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_flows": 0}, "n_flows must be positive, got 0"),
        ({"upsample_stride": 100}, "100 samples is no multiple of n_group 8"),
        ({"n_flows": 17}, "n_group 8 is too small"),
        ({"n_group": 7}, "n_group 7"),
    ],
)
def test_impossible_dimensions(changes: dict[str, int], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        WaveGlowConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"kernel_size": 4}, {"n_channels": 5}, {"n_layers": -1}])
def test_impossible_coupling_networks(changes: dict[str, int]) -> None:
    with pytest.raises(CheckpointError, match=r"kernel_size must be odd|must be positive"):
        WNConfig(**changes)
