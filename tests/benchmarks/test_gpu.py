"""The benchmark's conditions, memory and ceilings on a simulated GPU, without PyTorch."""

from __future__ import annotations

import importlib.util

import pytest

from tacoglow.benchmarks import ceilings, conditions
from tacoglow.runtime.backends.cuda.driver import Driver
from tacoglow.tests.runtime.backends.cuda.simulated_cuda import SimulatedCuda


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    SimulatedCuda().install(monkeypatch)
    monkeypatch.setattr(conditions, "gpu_unavailable_reason", lambda: None)
    monkeypatch.setattr(conditions, "find_driver", lambda: Driver(13010, 1))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))


@pytest.mark.usefixtures("gpu")
def test_conditions_name_the_gpu() -> None:
    assert conditions.gpu_index(0) == 0
    described = conditions.conditions(1, 0)["gpu"]
    assert described == {"name": "Simulated GPU", "compute_capability": "9.0", "driver": "CUDA 13.1"}
    assert conditions.memory_used(0) == 1 << 30


@pytest.mark.usefixtures("gpu")
def test_ceilings_without_a_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPIED_BYTES", 1000)
    assert ceilings.gpu_ceilings(0, "fp16") == {"bytes_per_second": pytest.approx(2000 / 1e-3)}
