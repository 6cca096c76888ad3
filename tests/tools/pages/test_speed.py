"""The peers and the operation counts of the pages' speed tables."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tacoglow.benchmarks.pipelines import PipelineOutput
from tacoglow.benchmarks.voices import Models
from tacoglow.models import WaveGlow
from tacoglow.tests.benchmarks.conftest import WORK
from tacoglow.tests.benchmarks.test_pipelines import check
from tacoglow.tests.tolerances import PUBLISHED
from tacoglow.tools.pages import roofline
from tacoglow.tools.pages.torchaudio_peer import TorchaudioPipeline


def test_torchaudio(models: Models, expected: PipelineOutput) -> None:
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed")
    check(TorchaudioPipeline(models), expected, PUBLISHED, {"acoustic"})


def test_operations_match_pytorchs_count(models: Models) -> None:
    """FlopCounterMode does not count LSTMs on a CPU, so the encoder's is subtracted."""
    tacotron2, waveglow, config = models.tacotron2, models.vocoder, models.tacotron2.config
    assert isinstance(waveglow, WaveGlow)
    costs = roofline.stage_costs(models, WORK, "fp32")
    B, T, F, M = WORK.batch, WORK.tokens, WORK.frames, config.n_mel_channels  # noqa: N806

    def count(function: object, *inputs: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            function(*inputs)  # type: ignore[operator]
        return int(counter.get_total_flops())

    ids, lengths = torch.ones(B, T, dtype=torch.long), torch.full((B,), T)
    encoded = tacotron2.encode(ids, lengths)
    lstm = sum(weight.numel() for name, weight in tacotron2.encoder.lstm.named_parameters() if "weight" in name)
    assert costs["encoder"].operations - 2 * B * T * lstm == count(tacotron2.encode, ids, lengths)
    steps = torch.ones(B, F, 2, config.prenet_dim)
    with torch.no_grad():
        tacotron2.decoder.gate_layer.bias.sub_(1000.0)
        assert costs["decoder"].operations == count(tacotron2.decode, *encoded, steps)
        tacotron2.decoder.gate_layer.bias.add_(1000.0)
    mel = torch.ones(B, M, F)
    assert costs["postnet"].operations == count(tacotron2.postnet, mel, torch.full((B,), F))
    z = torch.ones(B, waveglow.config.n_group, F * waveglow.config.groups_per_frame)
    assert costs["vocoder"].operations == count(waveglow, mel, z)
    weights = sum(p.numel() for p in tacotron2.postnet.parameters() if p.dim() > 1)
    assert costs["postnet"].bytes == 4 * weights + 2 * 4 * mel.numel()
    assert roofline.stage_costs(models, WORK, "fp16")["postnet"].bytes == 2 * weights + 2 * 4 * mel.numel()
