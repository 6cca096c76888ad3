"""Voices and backends for tests that need a GPU; run with: python -m pytest -m gpu tests/gpu

The bundles are those of the folder TACOGLOW_GPU_BUNDLES (demo-fp32 and demo-fp16), for machines without PyTorch;
without it the demo voice is exported, once per run. Engines are built into the user's cache.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends import backend_class
from tacoglow.runtime.bundle.manifest import Precision

DEVICE_BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def demo_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision: Precision = request.param
    ready = os.environ.get("TACOGLOW_GPU_BUNDLES")
    if ready is not None:
        return Path(ready) / f"demo-{precision}"
    pytest.importorskip("torch", reason="needs PyTorch, or bundles in TACOGLOW_GPU_BUNDLES")
    from tacoglow.benchmarks.voices import demo_models
    from tacoglow.export.bundle import export_onnx

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
