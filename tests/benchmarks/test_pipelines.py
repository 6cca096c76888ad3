"""Every pipeline speaks the workload as the modules themselves do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tacoglow.benchmarks import roofline
from tacoglow.benchmarks.peer import TorchaudioPipeline
from tacoglow.benchmarks.pipelines import BundlePipeline, Pipeline
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.voices import Models
from tacoglow.benchmarks.workload import Spoken, Workload, token_ids
from tacoglow.models import WaveGlow
from tacoglow.runtime.noise import Noise
from tacoglow.tests.tolerances import FOLDED, PUBLISHED

WORK = Workload(batch=2, tokens=11, frames=14)


@pytest.fixture(scope="module")
def expected(models: Models) -> Spoken:
    """From the modules' own methods, the gate held back by its bias."""
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
    return Spoken(mel.numpy(), audio.numpy())


def check(pipeline: Pipeline, expected: Spoken, tolerance: float, stages: set[str]) -> None:
    spoken, seconds = pipeline.speak(WORK)
    np.testing.assert_allclose(spoken.mel, expected.mel, rtol=0.0, atol=tolerance)
    if spoken.audio is not None:
        assert expected.audio is not None
        np.testing.assert_allclose(spoken.audio, expected.audio, rtol=0.0, atol=tolerance)
    assert seconds.keys() == stages
    assert min(seconds.values()) > 0.0


STAGES = {"encoder", "decoder", "postnet", "vocoder"}


@pytest.mark.parametrize("mode", ["eager", "TorchScript"])
def test_pytorch(models: Models, expected: Spoken, mode: str) -> None:
    pipeline = PyTorchPipeline(models, mode)  # type: ignore[arg-type]
    check(pipeline, expected, PUBLISHED, STAGES)
    check(pipeline, expected, PUBLISHED, STAGES)  # again: what was traced is not of the first noise alone


def test_bundle(tiny_bundle: Path, expected: Spoken) -> None:
    pipeline = BundlePipeline(tiny_bundle, "onnxruntime", threads=1)
    check(pipeline, expected, 10 * FOLDED, STAGES)  # folded graphs, through the decoder's recurrence
    first = pipeline.first_audio(WORK)
    assert first is not None
    assert first > 0.0


def test_torchaudio(models: Models, expected: Spoken) -> None:
    if importlib.util.find_spec("torchaudio") is None:
        pytest.skip("torchaudio is not installed")
    check(TorchaudioPipeline(models), expected, PUBLISHED, {"acoustic"})


def test_operations_are_those_that_pytorch_counts(models: Models) -> None:
    """FlopCounterMode sees no LSTM of the CPU's: the encoder's is left out on both sides."""
    tacotron2, waveglow, config = models.tacotron2, models.vocoder, models.tacotron2.config
    assert isinstance(waveglow, WaveGlow)
    work = roofline.work_of(models, WORK, "fp32")
    B, T, F, M = WORK.batch, WORK.tokens, WORK.frames, config.n_mel_channels  # noqa: N806

    def counted(function: object, *inputs: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            function(*inputs)  # type: ignore[operator]
        return int(counter.get_total_flops())

    ids, lengths = torch.ones(B, T, dtype=torch.long), torch.full((B,), T)
    encoded = tacotron2.encode(ids, lengths)
    lstm = sum(weight.numel() for name, weight in tacotron2.encoder.lstm.named_parameters() if "weight" in name)
    assert work["encoder"].operations - 2 * B * T * lstm == counted(tacotron2.encode, ids, lengths)
    steps = torch.ones(B, F, 2, config.prenet_dim)
    with torch.no_grad():
        tacotron2.decoder.gate_layer.bias.sub_(1000.0)
        assert work["decoder"].operations == counted(tacotron2.decode, *encoded, steps)
        tacotron2.decoder.gate_layer.bias.add_(1000.0)
    mel = torch.ones(B, M, F)
    assert work["postnet"].operations == counted(tacotron2.postnet, mel, torch.full((B,), F))
    z = torch.ones(B, waveglow.config.n_group, F * waveglow.config.groups_per_frame)
    assert work["vocoder"].operations == counted(waveglow, mel, z)
    weights = sum(p.numel() for p in tacotron2.postnet.parameters() if p.dim() > 1)
    assert work["postnet"].bytes == 4 * weights + 2 * 4 * mel.numel()
    assert roofline.work_of(models, WORK, "fp16")["postnet"].bytes == 2 * weights + 2 * 4 * mel.numel()
