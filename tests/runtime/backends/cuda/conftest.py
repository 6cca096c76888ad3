"""A TensorRT backend under the pretended driver; the fused decoder runs in its emulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.export import export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.voice import read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.runtime.backends.base import BackendOptions, Decoder
from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.tensorrt.backend import TensorRTBackend
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.tests.conftest import MAX_TOKENS, TinyCheckpoints
from tacoglow.tests.pretend_driver.driver import PretendDriver
from tacoglow.tests.runtime.backends.cuda.simulated_tensorrt import SimulatedTensorRT

MULTIPROCESSORS = 3


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PretendDriver:
    """The pretended driver, with TensorRT; chunks of 16 steps, so that utterances of the tiny voice have several."""
    simulated = SimulatedTensorRT()
    simulated.install(monkeypatch)
    simulated.cuda.limit_gpu(MULTIPROCESSORS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(steps, "WARPS", 2)
    monkeypatch.setattr(steps, "CHUNK_STEPS", 16)
    monkeypatch.setattr(steps.FusedSteps, "chunk_steps", 16)
    return simulated.cuda


def launches(cuda: PretendDriver) -> int:
    """Launches of the fused decoder."""
    return cuda.count("kernel fused_decoder")


Export = Callable[[Path, str], Path]


@pytest.fixture(scope="session")
def half_bundle(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice in half precision."""
    return export_half(tiny_checkpoints.tacotron2, tiny_checkpoints, tmp_path_factory)


@pytest.fixture(scope="session")
def half_reduced_bundle(
    reduced_checkpoint: Path, tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Voices of r = 2 and r = 3 frames a step, in half precision."""
    return export_half(reduced_checkpoint, tiny_checkpoints, tmp_path_factory)


def export_half(tacotron2: Path, files: TinyCheckpoints, factory: pytest.TempPathFactory) -> Path:
    bundle = factory.mktemp("half") / "voice"
    voice, limits = read_voice_file(files.voice), Limits(batch=16, tokens=MAX_TOKENS)
    export_onnx(load_tacotron2(tacotron2), load_waveglow(files.waveglow), bundle, "fp16", voice, limits)
    return bundle


def on_device(bundle: Path, decoder: Decoder = "fused") -> Synthesizer:
    return Synthesizer(TensorRTBackend(bundle, load_manifest(bundle), BackendOptions(decoder=decoder)))
