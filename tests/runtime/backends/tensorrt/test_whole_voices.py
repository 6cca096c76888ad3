"""Builds every graph of the demo voice, and of a voice of NVIDIA's published dimensions, for three GPU generations.

Takes minutes; run with: python -m pytest -m engines
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tacoglow.benchmarks.voices import demo_models, random_models
from tacoglow.export.bundle import Limits, export_onnx
from tacoglow.runtime.backends.tensorrt.cache import EngineRequest, get_or_build_engines
from tacoglow.runtime.backends.tensorrt.engine_key import ANY_GPU, Target
from tacoglow.runtime.backends.tensorrt.versions import TensorRT
from tacoglow.runtime.bundle.manifest import Precision, graph_names
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.tests.runtime.backends.tensorrt.conftest import RecordingProgress

pytestmark = pytest.mark.engines

CAPABILITIES = ((8, 0), (8, 9), (12, 0))


@pytest.fixture(scope="module", params=["demo", "nvidia"])
def voice(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def bundle(voice: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision: Precision = request.param
    folder = tmp_path_factory.mktemp(f"{voice}-{precision}") / "voice"
    models = demo_models() if voice == "demo" else random_models()
    limits = Limits(frames=None if voice == "demo" else 1000)
    export_onnx(models.tacotron2, models.vocoder, folder, precision, models.voice, limits)
    return folder


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: "sm{}{}".format(*capability))
@pytest.mark.parametrize("graph", graph_names("waveglow"))
def test_graph_builds(
    rtx: TensorRT, bundle: Path, graph: str, capability: tuple[int, int], tmp_path: Path, progress: RecordingProgress
) -> None:
    request = EngineRequest(Target(gpu=ANY_GPU, compute_capability=capability), folder=tmp_path, graphs=[graph])
    engine = get_or_build_engines(bundle, load_manifest(bundle), rtx, request, progress)[graph]
    assert len(engine.plan) > 10_000
