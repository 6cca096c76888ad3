"""The choice of a backend: what is passed over, and what the user is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tacoglow.runtime import backends
from tacoglow.runtime.backends import backend_class, open_backend
from tacoglow.runtime.backends.base import Backend, BackendOptions, GraphRunner
from tacoglow.runtime.backends.cuda import driver
from tacoglow.runtime.backends.cuda.driver import Driver, install_command
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError, BundleError


def open_auto(bundle: Path) -> Backend:
    return open_backend("auto", bundle, load_manifest(bundle), BackendOptions(threads=1))


class FailingGpu(Backend):
    name = "tensorrt"
    runs_asynchronously = True
    device = "a GPU"

    @staticmethod
    def unavailable_reason(device: int = 0) -> str | None:
        return None

    def _open(self, graph: str) -> GraphRunner:
        raise RuntimeError("out of memory\nwhile loading")


def test_auto_passes_over_a_gpu_backend_that_fails_to_open(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        backends, "backend_class", lambda name: FailingGpu if name == "tensorrt" else backend_class(name)
    )
    backend = open_auto(tiny_bundle)
    assert backend.name == "onnxruntime"
    assert "first available; tensorrt not available: out of memory while loading" in backend.choice
    assert "\n" not in backend.choice
    with pytest.raises(RuntimeError, match="out of memory"):
        open_backend("tensorrt", tiny_bundle, load_manifest(tiny_bundle), BackendOptions()).open("encoder")


def test_auto_does_not_hide_a_damaged_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes((tiny_bundle / "manifest.json").read_bytes())
    with pytest.raises(BundleError, match=r"encoder\.onnx: missing, the bundle needs its encoder;"):
        open_auto(tmp_path)


@pytest.mark.parametrize(
    ("version", "gpus", "command"),
    [(12080, 1, "pip install 'tacoglow[gpu-cu12]'"), (13000, 2, "pip install 'tacoglow[gpu-cu13]'")],
)
def test_auto_on_the_cpu_mentions_an_unused_gpu(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, version: int, gpus: int, command: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cuda.bindings" else find_spec(name))
    monkeypatch.setattr(driver, "find_driver", lambda: Driver(version, gpus))
    monkeypatch.setattr(backends, "find_driver", lambda: Driver(version, gpus))
    choice = open_auto(tiny_bundle).choice
    assert choice.startswith("onnxruntime (CPU): first available; tensorrt, ")
    assert choice.endswith("; this machine has a GPU: see tacoglow doctor")
    assert install_command() == command
    assert command in choice


def test_without_a_driver_there_is_no_gpu(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_driver", lambda: None)
    assert "see tacoglow doctor" not in open_auto(tiny_bundle).choice


def test_unknown_backend_lists_the_known_ones(tiny_bundle: Path) -> None:
    with pytest.raises(BackendError, match="backend 'cray': unknown; choose from auto, tensorrt, "):
        open_backend("cray", tiny_bundle, load_manifest(tiny_bundle), BackendOptions())
