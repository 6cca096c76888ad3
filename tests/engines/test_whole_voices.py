"""Every graph of the demo voice, and of one of NVIDIA's published dimensions, built for three generations of GPUs.

Minutes long: python -m pytest -m engines
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tacoglow.benchmarks.voices import random_models
from tacoglow.export.bundle import Limits, export_onnx
from tacoglow.export.voice import DEMO_FOLDER, read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.runtime.engines.provide import Request, provide_engines
from tacoglow.runtime.engines.recipe import ANY_GPU, Target
from tacoglow.runtime.engines.tensorrt import TensorRT
from tacoglow.runtime.manifest import GRAPH_NAMES, Precision, load_manifest
from tacoglow.tests.engines.conftest import Silence

pytestmark = pytest.mark.engines

CAPABILITIES = ((8, 0), (8, 9), (12, 0))


@pytest.fixture(scope="module", params=["demo", "nvidia"])
def voice(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def bundle(voice: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision: Precision = request.param
    folder = tmp_path_factory.mktemp(f"{voice}-{precision}") / "voice"
    if voice == "demo":
        models = (load_tacotron2(DEMO_FOLDER / "tacotron2.pt"), load_waveglow(DEMO_FOLDER / "waveglow.pt"))
        export_onnx(*models, folder, precision, read_voice_file(DEMO_FOLDER / "voice.json"))
    else:
        random = random_models()
        export_onnx(random.tacotron2, random.waveglow, folder, precision, random.voice, Limits(frames=1000))
    return folder


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: "sm{}{}".format(*capability))
@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_it_builds(
    rtx: TensorRT, bundle: Path, graph: str, capability: tuple[int, int], tmp_path: Path, display: Silence
) -> None:
    request = Request(Target(gpu=ANY_GPU, compute_capability=capability), folder=tmp_path, graphs=[graph])
    engine = provide_engines(bundle, load_manifest(bundle), rtx, request, display)[graph]
    assert len(engine.plan) > 10_000
