"""Every pipeline's output equals that of the PyTorch modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tacoglow.benchmarks import roofline
from tacoglow.benchmarks.pipelines import BundlePipeline, Pipeline, PipelineOutput
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.torchaudio_peer import TorchaudioPipeline
from tacoglow.benchmarks.voices import Models
from tacoglow.benchmarks.workload import Workload, token_ids
from tacoglow.models import WaveGlow
from tacoglow.runtime.noise import Noise
from tacoglow.tests.tolerances import FOLDED, PUBLISHED

WORK = Workload(batch=2, tokens=11, frames=14)


@pytest.fixture(scope="module")
def expected(models: Models) -> PipelineOutput:
    """Output of the modules' own methods; a bias keeps the gate from firing."""
    tacotron2, waveglow = models.tacotron2, models.vocoder
    assert isinstance(waveglow, WaveGlow)
    ids = torch.tensor([token_ids(models.front_end, WORK.tokens)] * WORK.batch)
    gate = tacotron2.decoder.gate_layer.bias
    before = gate.detach().clone()
    groups = WORK.frames * waveglow.config.groups_per_frame
    with torch.no_grad():
        gate.sub_(1000.0)
        masks = [Noise(i).prenet_dropout(0, WORK.frames, 2, tacotron2.config.prenet_dim) for i in range(WORK.batch)]
        lengths = torch.full((WORK.batch,), WORK.tokens)
        mel, mel_lengths, _ = tacotron2.infer(ids, lengths, torch.from_numpy(np.stack(masks)))
        gate.copy_(before)
        z = np.stack([Noise(i).z(0, groups, waveglow.config.n_group) for i in range(WORK.batch)])
        audio = waveglow.infer(mel, models.voice.sigma, torch.from_numpy(z))
    assert mel_lengths.tolist() == [WORK.frames] * WORK.batch
    return PipelineOutput(mel.numpy(), audio.numpy())


def check(pipeline: Pipeline, expected: PipelineOutput, tolerance: float, stages: set[str]) -> None:
    output, seconds = pipeline.synthesize(WORK)
    np.testing.assert_allclose(output.mel, expected.mel, rtol=0.0, atol=tolerance)
    if output.audio is not None:
        assert expected.audio is not None
        np.testing.assert_allclose(output.audio, expected.audio, rtol=0.0, atol=tolerance)
    assert seconds.keys() == stages
    assert min(seconds.values()) > 0.0


STAGES = {"encoder", "decoder", "postnet", "vocoder"}


@pytest.mark.parametrize("mode", ["eager", "TorchScript"])
def test_pytorch(models: Models, expected: PipelineOutput, mode: str) -> None:
    pipeline = PyTorchPipeline(models, mode)  # type: ignore[arg-type]
    check(pipeline, expected, PUBLISHED, STAGES)
    check(pipeline, expected, PUBLISHED, STAGES)  # again: the traced functions must use new noise


def test_bundle(tiny_bundle: Path, expected: PipelineOutput) -> None:
    pipeline = BundlePipeline(tiny_bundle, "onnxruntime", threads=1)
    check(pipeline, expected, 10 * FOLDED, STAGES)  # errors of folded graphs grow through the recurrence
    first = pipeline.first_audio(WORK)
    assert first is not None
    assert first > 0.0


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
