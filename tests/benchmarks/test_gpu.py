"""The benchmark's conditions, memory and ceilings under the pretended driver, without PyTorch."""

from __future__ import annotations

import importlib.util

import pytest

from tacoglow.benchmarks import ceilings, conditions
from tacoglow.tests.pretend_driver.driver import install


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))


@pytest.mark.usefixtures("gpu")
def test_conditions_name_the_gpu() -> None:
    assert conditions.gpu_index(0) == 0
    described = conditions.conditions(1, 0)["gpu"]
    assert described == {"name": "Simulated GPU", "compute_capability": "9.0", "driver": "CUDA 13.0"}
    assert conditions.memory_used(0) == 1 << 30


@pytest.mark.usefixtures("gpu")
def test_ceilings_without_a_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPIED_BYTES", 1000)
    assert ceilings.gpu_ceilings(0, "fp16") == {"bytes_per_second": pytest.approx(2000 / 1e-3)}


def test_a_ceiling_that_fails_costs_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ceilings are measured last, after minutes of timing."""

    def fail(gpu: int, precision: str) -> dict[str, float]:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(ceilings, "gpu_ceilings", fail)
    said: list[str] = []
    rows = [{"device": "GPU", "precision": "fp16"}, {"device": "GPU", "precision": "fp16"}]
    assert ceilings.measure_ceilings(rows, 0, said.append) == {"GPU, fp16": {}}
    assert said == ["GPU, fp16: the ceilings cannot be measured: unexpected keyword argument"]
    assert rows[1]["ceiling"] == "GPU, fp16"
