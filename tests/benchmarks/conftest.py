"""The tiny voice's models, and a pipeline whose output a test can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tacoglow.benchmarks.pipelines import Pipeline, PipelineOutput
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.voices import Models, load_models
from tacoglow.benchmarks.workload import Workload, token_ids
from tacoglow.models import WaveGlow
from tacoglow.runtime.noise import Noise
from tacoglow.tests.conftest import TinyCheckpoints

Change = Callable[[PipelineOutput], PipelineOutput]
WORK = Workload(batch=2, tokens=11, frames=14)


@pytest.fixture(scope="session")
def models(tiny_checkpoints: TinyCheckpoints) -> Models:
    return load_models(tiny_checkpoints.tacotron2, tiny_checkpoints.waveglow, tiny_checkpoints.voice)


@pytest.fixture(scope="session")
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


class ChangedPipeline(Pipeline):
    """Returns PyTorch's output after `change`, and counts its calls."""

    name, precision, device = "changed", "fp32", "CPU"

    def __init__(self, models: Models, change: Change) -> None:
        self._pipeline, self._change = PyTorchPipeline(models), change
        self.calls = 0

    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        self.calls += 1
        output, seconds = self._pipeline.synthesize(work)
        return self._change(output), seconds


def change_audio(change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Change:
    """Turn a change of the audio into a change of the output."""

    def apply(output: PipelineOutput) -> PipelineOutput:
        assert output.audio is not None
        return replace(output, audio=change(output.audio.copy()))

    return apply
