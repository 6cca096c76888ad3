"""Voices and backends of the tests that need a GPU: python -m pytest -m gpu

They have the whole of a GPU machine to themselves: the demo voice is exported and its engines are built, once a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.benchmarks.voices import demo_models
from tacoglow.export.bundle import export_onnx
from tacoglow.runtime.backends import backend_class
from tacoglow.runtime.manifest import Precision

DEVICE_BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def demo_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision: Precision = request.param
    folder = tmp_path_factory.mktemp(precision) / "voice"
    models = demo_models()
    export_onnx(models.tacotron2, models.vocoder, folder, precision, models.voice)
    return folder


@pytest.fixture(scope="session", params=DEVICE_BACKENDS)
def device(demo_bundle: Path, request: pytest.FixtureRequest) -> Synthesizer:
    reason = backend_class(request.param).unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    return Synthesizer.load(demo_bundle, request.param)


@pytest.fixture(scope="session")
def cpu(demo_bundle: Path) -> Synthesizer:
    return Synthesizer.load(demo_bundle, "onnxruntime")
