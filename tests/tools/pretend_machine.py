"""A Python as on a machine with a GPU and TensorRT: pretend_machine.py -m MODULE ARGUMENTS, for the day's rehearsal.

The driver is the tests' own, under which the real cuda-core runs; kernels run in their emulation, on a GPU of three
multiprocessors; TensorRT 8.6 is simulated, and its builder makes plans that the simulation runs.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.cuda.noise import open_device_noise
from tacoglow.runtime.backends.tensorrt import backend, builder, versions
from tacoglow.runtime.backends.tensorrt.engine_key import EngineKey
from tacoglow.runtime.bundle.manifest import GraphSpec
from tacoglow.tests.runtime.backends.cuda.simulated_tensorrt import SimulatedTensorRT

MULTIPROCESSORS, WARPS, CHUNK_STEPS = 3, 2, 4


class PretendBuilder:
    """EngineBuilder's interface; a plan is the name of its graph."""

    def __init__(self, tensorrt: versions.TensorRT) -> None:
        self.tensorrt = tensorrt

    def build(self, onnx: Path, spec: GraphSpec, engine_key: EngineKey, timing_cache: Path, progress: Any) -> bytes:
        assert onnx.is_file()
        return engine_key.graph.encode()


def pretend() -> None:
    patch = pytest.MonkeyPatch()
    simulated = SimulatedTensorRT("8.6.0")
    simulated.install(patch)
    simulated.cuda.limit_gpu(MULTIPROCESSORS)
    patch.setattr(backend, "open_device_noise", open_device_noise)
    patch.setattr(steps, "WARPS", WARPS)
    patch.setattr(steps, "CHUNK_STEPS", CHUNK_STEPS)
    patch.setattr(steps.FusedSteps, "chunk_steps", CHUNK_STEPS)
    patch.setattr(builder, "EngineBuilder", PretendBuilder)
    patch.setitem(sys.modules, "tensorrt", inspecting(simulated.module()))
    for room in (versions, backend):
        patch.setattr(room, "tensorrt_unavailable_reason", lambda name: None if name == "tensorrt" else "not here")


def inspecting(module: Any) -> Any:
    """TensorRT's module with an inspector, which finds two layers in every engine."""
    layers = json.dumps({"Layers": [{"Name": "product", "Precision": "Half"}, {"Name": "softmax"}]})
    inspector = SimpleNamespace(get_engine_information=lambda form: layers)
    engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
    module.LayerInformationFormat = SimpleNamespace(JSON=0)
    module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    return module


if __name__ == "__main__":
    pretend()
    _, flag, name, *arguments = sys.argv
    assert flag == "-m"
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
