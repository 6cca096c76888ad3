"""The tiny voice's models, and a pipeline whose output a test can spoil."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.benchmarks.pipelines import Pipeline
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.voices import Models, load_models
from tacoglow.benchmarks.workload import Spoken, Workload
from tacoglow.tests.conftest import TinyCheckpoints

Spoil = Callable[[Spoken], Spoken]


@pytest.fixture(scope="session")
def models(tiny_checkpoints: TinyCheckpoints) -> Models:
    return load_models(tiny_checkpoints.tacotron2, tiny_checkpoints.waveglow, tiny_checkpoints.voice)


class Spoilt(Pipeline):
    """Speaks what PyTorch speaks, after `spoil`; counts how often it was asked."""

    name, precision, device = "spoilt", "fp32", "CPU"

    def __init__(self, models: Models, spoil: Spoil) -> None:
        self._pipeline, self._spoil = PyTorchPipeline(models), spoil
        self.calls = 0

    def speak(self, work: Workload) -> tuple[Spoken, dict[str, float]]:
        self.calls += 1
        spoken, seconds = self._pipeline.speak(work)
        return self._spoil(spoken), seconds


def with_audio(change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Spoil:
    def spoil(spoken: Spoken) -> Spoken:
        assert spoken.audio is not None
        return replace(spoken, audio=change(spoken.audio.copy()))

    return spoil
