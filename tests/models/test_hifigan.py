"""HiFi-GAN's module against the published classes, and its receptive field against perturbations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tacoglow.models import CheckpointError, Denoiser, HiFiGAN, HiFiGANConfig, load_hifigan
from tacoglow.models.denoiser import BIAS_FRAMES
from tacoglow.tests.models.hifigan_layouts import AUDIO, BANDS, PLANS, TINY, golden_mel, jik876, weights
from tacoglow.tests.tolerances import HIFIGAN

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "hifigan.npz"
FRAMES = 9
PARAMETERS = {"v1": 13_926_017, "v2": 925_985, "v3": 1_462_273}  # folded, as the paper counts them
FIELDS = {"v1": (13, 13), "v2": (13, 13), "v3": (11, 11)}  # measured on the published classes


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HiFiGAN]:
    loaded = {}
    for name, plan in PLANS.items():
        folder = tmp_path_factory.mktemp(name)
        hop = int(np.prod(plan["upsample_rates"]))
        loaded[name] = load_hifigan(jik876(folder, {**plan, **AUDIO, "hop_size": hop}, weights(plan)))
    return loaded


@pytest.mark.parametrize("case", ["jik876/v1", "jik876/v2", "jik876/v3", "jik876/odd", "nvidia/v1", "nvidia/v2"])
def test_samples_are_those_of_the_published_classes(
    case: str, golden: dict[str, NDArray[np.float32]], models: dict[str, HiFiGAN]
) -> None:
    with torch.no_grad():
        audio = models[case.split("/")[1]](golden_mel(FRAMES))
    assert audio.shape == (1, 1, len(golden[case]))
    assert np.abs(audio[0, 0].numpy() - golden[case]).max() < HIFIGAN


@pytest.mark.parametrize("name", PARAMETERS)
def test_dimensions_are_the_papers(name: str, models: dict[str, HiFiGAN]) -> None:
    model = models[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert model.receptive_field_frames == FIELDS[name]
    assert model.audio == {
        "sampling_rate": 22050,
        "hop_length": 256,
        "filter_length": 1024,
        "win_length": 1024,
        "mel_fmin": 0,
        "mel_fmax": 8000,
    }


def _positive(config: HiFiGANConfig) -> HiFiGAN:
    """With positive weights, in float64: every sample then grows with every value that it depends on."""
    model = HiFiGAN(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5).mul_(1e-2)
    return model


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"resblock": 2, "resblock_kernel_sizes": (3, 7), "resblock_dilation_sizes": ((1, 2), (3, 12))},
        {"upsample_rates": (5, 3, 4), "upsample_kernel_sizes": (11, 7, 8), "upsample_initial_channel": 16},
        {"upsample_rates": (2, 2, 4, 3), "upsample_kernel_sizes": (2, 4, 10, 3)},
        {"upsample_rates": (4,), "upsample_kernel_sizes": (16,), "resblock_kernel_sizes": (1, 1, 1)},
    ],
)
def test_receptive_field_is_exact(plan: dict[str, Any]) -> None:
    """A frame of the mel changes a frame's samples if it is in the receptive field, and only then."""
    small = {"n_mel_channels": 2, "upsample_initial_channel": 32}
    config = HiFiGANConfig(**{**small, **plan})
    model, (before, after) = _positive(config), config.receptive_field_frames
    frames, middle, hop = before + after + 9, before + 4, config.hop_length
    mel = torch.ones(1, 2, frames, dtype=torch.float64, requires_grad=True)
    samples = _without_tanh(model, mel)[0, middle * hop : (middle + 1) * hop]
    (gradient,) = torch.autograd.grad(samples.sum(), mel)
    depends = gradient[0].abs().sum(0).nonzero()[:, 0].tolist()
    assert (middle - depends[0], depends[-1] - middle) == (before, after)


def _without_tanh(model: HiFiGAN, mel: torch.Tensor) -> torch.Tensor:
    """The samples before tanh, which could saturate and hide a dependence."""
    kept: list[torch.Tensor] = []
    handle = model.conv_post.register_forward_hook(lambda module, inputs, output: kept.append(output))
    model(mel)
    handle.remove()
    return kept[0][:, 0]


@pytest.mark.parametrize("name", FIELDS)
def test_a_window_with_its_receptive_field_is_the_whole(name: str, models: dict[str, HiFiGAN]) -> None:
    before, after = FIELDS[name]
    mel, hop, start, stop = golden_mel(40), 256, 16, 19
    with torch.no_grad():
        whole = models[name].generate(mel)[:, start * hop : stop * hop]
        window = models[name].generate(mel[:, :, start - before : stop + after])
    assert torch.allclose(whole, window[:, before * hop : (before + stop - start) * hop], rtol=0, atol=HIFIGAN)
    with torch.no_grad():
        short = models[name].generate(mel[:, :, start - before + 1 : stop + after])
    assert float((whole - short[:, (before - 1) * hop : (before - 1 + stop - start) * hop]).abs().max()) > 0.0


def test_a_batch_is_its_items(models: dict[str, HiFiGAN]) -> None:
    mels = torch.cat((golden_mel(9), -0.5 * golden_mel(9)))
    model = models["v3"].double()
    try:
        with torch.no_grad():
            together, alone = model(mels.double()), [model(mel[None].double()) for mel in mels]
    finally:
        model.float()
    assert torch.allclose(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_the_denoisers_bias_is_of_a_zero_mel(models: dict[str, HiFiGAN]) -> None:
    """Against the published definition, computed with NumPy: the first frame of the bias audio's spectrum."""
    model = models["v3"]
    with torch.no_grad():
        audio = model(torch.zeros(1, BANDS, BIAS_FRAMES))[0, 0].numpy()
    first = np.pad(audio, (512, 0), mode="reflect")[:1024] * np.hanning(1025)[:-1]
    assert np.allclose(Denoiser(model).bias_magnitude[0, :, 0], np.abs(np.fft.rfft(first)), atol=1e-3)


def test_reflection_needs_min_frames() -> None:
    for plan, least in ((PLANS["v1"], 4), (PLANS["v3"], 5)):
        config = HiFiGANConfig(
            upsample_rates=tuple(plan["upsample_rates"]),
            upsample_kernel_sizes=tuple(plan["upsample_kernel_sizes"]),
            upsample_initial_channel=16,
            resblock=int(plan["resblock"]),
            resblock_kernel_sizes=tuple(plan["resblock_kernel_sizes"]),
            resblock_dilation_sizes=tuple(map(tuple, plan["resblock_dilation_sizes"])),
            padding_mode="reflect",
        )
        model = HiFiGAN(config)
        assert config.min_frames == least
        with torch.no_grad():
            assert model(golden_mel(least)).shape == (1, 1, least * 256)
            with pytest.raises(RuntimeError):
                model(golden_mel(least - 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upsample_rates": None}, ("upsample_rates", "not stated", "config.json")),
        ({"resblock_dilation_sizes": None}, ("resblock_dilation_sizes", "not stated", "config.json")),
        ({"upsample_rates": [8, 8, 2]}, ("hop_length", "256", "128")),
        ({"upsample_rates": [8, "8", 4]}, ("upsample_rates", "int", "'8'")),
        ({"upsample_rates": [8, 7, 4]}, ("kernel 16", "rate 7")),
        ({"upsample_rates": [8, 8, 4, 1]}, ("equal lengths",)),
        ({"upsample_rates": [8, 8, 10**9]}, ("upsample_rates", "4096")),
        ({"upsample_kernel_sizes": [16, 16, 4]}, ("upsample_kernel_sizes", "does not match", "[16, 16, 8]")),
        ({"resblock_dilation_sizes": [[1, 2, 3]]}, ("resblock_dilation_sizes", "1 for 2")),
        ({"resblock_dilation_sizes": [[1, 2, 3], [1, 3]]}, ("convs1.2",)),
        ({"resblock_dilation_sizes": [[1, 2, 3], [1, 3, 10**9]]}, ("resblock_dilation_sizes", "4096")),
        ({"upsample_initial_channel": 64}, ("upsample_initial_channel", "expected 32", "got 64")),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(change: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    plan = {key: value for key, value in {**TINY, **change}.items() if value is not None}
    path = jik876(tmp_path, plan, weights(TINY))
    with pytest.raises(CheckpointError) as error:
        load_hifigan(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)
