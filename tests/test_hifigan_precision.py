"""The gain of each float32 layer within a half-precision HiFi-GAN, with trained weights. Minutes: make slow.

The choices are made on the PyTorch graph. The figures stand in docs/accuracy.md.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacoglow.export.graphs.flat import FlatConv
from tacoglow.export.graphs.hifigan import HiFiGANGraph
from tacoglow.models import load_hifigan

pytestmark = pytest.mark.slow

FRAMES = 80  # of each sentence
SENTENCES = 4
EPSILON = 1e-5  # of magnitudes, as in the mel's logarithm


def with_precision(graph: HiFiGANGraph, dtype: torch.dtype, kept: tuple[str, ...]) -> HiFiGANGraph:
    """The graph in `dtype`, apart from the parts that keep float32: "ends" (conv_pre, conv_post), "stage 1"."""
    changed = copy.deepcopy(graph)
    parts: dict[str, list[nn.Module]] = {
        "ends": [changed.conv_pre, changed.conv_post],
        "stage 1": [changed.ups[0], *changed.blocks[: len(graph.config.resblock_kernel_sizes)]],
    }
    in_float32 = {own for name in kept for part in parts[name] for own in part.modules()}
    for module in changed.modules():
        if isinstance(module, FlatConv):
            module.forward = functools.partial(  # type: ignore[method-assign]
                convolve, module, torch.float32 if module in in_float32 else dtype
            )
    return changed


def convolve(conv: FlatConv, dtype: torch.dtype, x: Tensor) -> Tensor:
    """Round weights, input and output to the dtype, and sum in float32, as GPUs do; the result has the dtype."""
    assert not conv.reflects
    weight, bias = conv.weight.to(dtype).float(), None if conv.bias is None else conv.bias.to(dtype).float()
    padding, dilation = (0, conv.padding), (1, conv.dilation)
    return F.conv2d(x.to(dtype).float(), weight, bias, padding=padding, dilation=dilation).to(dtype)


def log_magnitudes(samples: Tensor) -> Tensor:
    spectrum = torch.stft(samples, 1024, 256, window=torch.hann_window(1024), return_complex=True)
    return spectrum.abs().clamp(min=EPSILON).log()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_float32_at_the_start_gains_most(dtype: torch.dtype, trained_generators: Path) -> None:
    generator = load_hifigan(trained_generators / "generator_universal.pth.tar")
    with torch.no_grad():
        graph = HiFiGANGraph(generator, torch.float32)
    choices: dict[str, tuple[str, ...]] = {
        "nothing": (),
        "conv_pre and conv_post": ("ends",),
        "those and stage 1": ("ends", "stage 1"),
    }
    ratios, distances = {}, {}
    with np.load(Path(__file__).parent / "golden" / "flite_mels.npz") as golden, torch.no_grad():
        mels = [
            torch.tensor(golden[f"mel_{i}"][None, :, 40 : 40 + FRAMES].astype(np.float32)) for i in range(SENTENCES)
        ]
        expected = torch.cat([graph(mel)[0] for mel in mels])
        for name, kept in choices.items():
            changed = with_precision(graph, dtype, kept)
            got = torch.cat([changed(mel)[0].float() for mel in mels])
            ratios[name] = float(10 * torch.log10((expected**2).mean() / ((got - expected) ** 2).mean()))
            distances[name] = float((log_magnitudes(got) - log_magnitudes(expected)).abs().mean())
            print(f"{dtype}, float32 kept: {name}: {ratios[name]:.1f} dB, log magnitude {distances[name]:.4f}")
    assert ratios["nothing"] < ratios["conv_pre and conv_post"] < ratios["those and stage 1"]
