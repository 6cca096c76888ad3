"""Values derived from WaveGlow's dimensions, compared with measurements."""

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


def measure_receptive_field(config: WaveGlowConfig) -> tuple[int, int]:
    """Measure the frames (before, after) that affect a frame's samples: change one frame, find the changed samples."""
    torch.manual_seed(0)
    model = WaveGlow(config).double()
    frames = 2 * sum(config.receptive_field_frames) + 5
    mel = torch.randn(1, config.n_mel_channels, frames, dtype=torch.float64)
    z = torch.randn(1, config.n_group, frames * config.groups_per_frame, dtype=torch.float64)
    changed = mel.clone()
    changed[:, :, frames // 2] += 1.0
    differs = model.infer(mel, 1.0, z) != model.infer(changed, 1.0, z)
    affected = differs.reshape(frames, config.upsample_stride).any(1).nonzero()
    return int(affected.max()) - frames // 2, frames // 2 - int(affected.min())


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
def test_receptive_field_covers_the_measured_one(config: WaveGlowConfig) -> None:
    """The stated field is never too small, and at most one frame too large: the first flow has one layer less depth."""
    measured, stated = measure_receptive_field(config), config.receptive_field_frames
    for one_measured, one_stated in zip(measured, stated, strict=True):
        assert one_measured <= one_stated <= one_measured + 1


def test_receptive_field_is_exact_if_it_ends_inside_a_frame() -> None:
    config = small_config(n_flows=2, n_layers=2, kernel_size=3, stride=16, kernel=64)
    assert measure_receptive_field(config) == config.receptive_field_frames == (6, 3)


def test_derived_values_of_published_dimensions() -> None:
    config = WaveGlowConfig()
    assert config.flow_channels == [8] * 4 + [6] * 4 + [4] * 4
    assert config.n_remaining_channels == 4
    assert config.groups_per_frame == 32
    assert config.receptive_field_frames == (99, 96)  # 12 flows of 255 groups, and 3 frames of upsampling


def test_flow_channels_if_channels_leave_at_the_last_flow() -> None:
    config = small_config(n_flows=5, n_layers=1, kernel_size=3, stride=16, kernel=64)
    assert config.flow_channels == [8, 8, 6, 6, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_flows": 0}, "n_flows must be positive, got 0"),
        ({"upsample_stride": 100}, "must be a multiple of n_group 8, got 100 samples"),
        ({"n_flows": 17}, "n_group 8 is too small"),
        ({"n_group": 7}, "n_group 7"),
    ],
)
def test_impossible_dimensions_are_rejected(changes: dict[str, int], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        WaveGlowConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"kernel_size": 4}, {"n_channels": 5}, {"n_layers": -1}])
def test_impossible_coupling_networks_are_rejected(changes: dict[str, int]) -> None:
    with pytest.raises(CheckpointError, match=r"kernel_size must be odd|must be positive"):
        WNConfig(**changes)
