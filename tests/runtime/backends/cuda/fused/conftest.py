"""A TensorRT backend on a simulated GPU, whose fused decoder runs in the CPU emulation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacoglow import Synthesizer
from tacoglow.export import export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.voice import read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.runtime.backends.base import BackendOptions, Decoder
from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.cuda.fused.plan import GpuLimits, Plan
from tacoglow.runtime.backends.cuda.stream import CudaStream
from tacoglow.runtime.backends.tensorrt.backend import TensorRTBackend
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.tests.conftest import MAX_TOKENS, TinyCheckpoints
from tacoglow.tests.runtime.backends.cuda.simulated_cuda import C_TYPES, SimulatedCuda
from tacoglow.tests.runtime.backends.cuda.simulated_tensorrt import SimulatedTensorRT

from .emulated import build


class EmulatedKernel:
    """FusedKernel's interface over the emulation; a launch runs when the simulated stream comes to it."""

    launches = 0
    fault: Exception | None = None  # raised by a launch when it runs, as a trap is

    def __init__(self, index: int, plan: Plan, cubin: bytes) -> None:
        assert cubin.startswith(b"emulated ")
        self._library = build(plan, grid_barriers=cubin.endswith(b"1"))

    def launch(self, stream: CudaStream, *arguments: Any) -> None:
        passed = [C_TYPES[type(argument)](argument) for argument in arguments[:-1]]  # without the trace

        def work() -> None:
            if EmulatedKernel.fault is not None:
                raise EmulatedKernel.fault
            failure = self._library.emulate_launch(ctypes.c_ulonglong(EmulatedKernel.launches), *passed)
            assert failure is None, failure
            EmulatedKernel.launches += 1

        stream._stream.enqueue(work)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimulatedCuda:
    """The simulated GPU, with TensorRT; chunks of 16 steps, so that utterances of the tiny voice have several."""
    simulated = SimulatedTensorRT(SimulatedCuda())
    simulated.install(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(steps, "FusedKernel", EmulatedKernel)
    monkeypatch.setattr(steps, "gpu_limits", lambda index: GpuLimits(3, 227 << 10))
    monkeypatch.setattr(steps, "WARPS", 2)
    monkeypatch.setattr(steps, "CHUNK_STEPS", 16)
    monkeypatch.setattr(steps.FusedSteps, "chunk_steps", 16)
    monkeypatch.setattr(nvrtc, "compile_cubin", lambda source, arch: b"emulated " + grid_barriers(source))
    monkeypatch.setattr(EmulatedKernel, "fault", None)
    return simulated.cuda


def grid_barriers(source: str) -> bytes:
    return source.partition("#define GRID_BARRIERS ")[2][:1].encode()


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
    voice, limits = read_voice_file(files.voice), Limits(batch=12, tokens=MAX_TOKENS)
    export_onnx(load_tacotron2(tacotron2), load_waveglow(files.waveglow), bundle, "fp16", voice, limits)
    return bundle


def on_device(bundle: Path, decoder: Decoder = "fused") -> Synthesizer:
    return Synthesizer(TensorRTBackend(bundle, load_manifest(bundle), BackendOptions(decoder=decoder)))
