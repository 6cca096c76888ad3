"""The tiny voice's models, and a pipeline whose output a test can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.benchmarks.pipelines import Pipeline, PipelineOutput
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.voices import Models, load_models
from tacoglow.benchmarks.workload import Workload
from tacoglow.tests.conftest import TinyCheckpoints

Change = Callable[[PipelineOutput], PipelineOutput]


@pytest.fixture(scope="session")
def models(tiny_checkpoints: TinyCheckpoints) -> Models:
    return load_models(tiny_checkpoints.tacotron2, tiny_checkpoints.waveglow, tiny_checkpoints.voice)


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
