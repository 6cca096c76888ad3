"""Selecting the fused decoder, for Python and for C++, and the errors if it cannot run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends import open_backend
from tacoglow.runtime.backends.base import BackendOptions
from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.noise import NoiseWarning
from tacoglow.runtime.backends.tensorrt import backend
from tacoglow.runtime.backends.tensorrt.backend import TensorRTBackend
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.pretend_driver.driver import PretendDriver

from ..conftest import launches, on_device
from .test_steps import FOREVER, TEXT


def test_engine_is_the_default(half_bundle: Path, cuda: PretendDriver) -> None:
    device = on_device(half_bundle, BackendOptions().decoder)
    device.say(TEXT, options=FOREVER)
    assert launches(cuda) == 0
    assert device.backend.decoder == ""


def test_fp32_bundle_is_rejected(tiny_bundle: Path, cuda: PretendDriver) -> None:
    with pytest.raises(BackendError, match=r"this bundle is fp32; export it with --precision fp16"):
        on_device(tiny_bundle, "fused")


def test_compile_error_is_reported_at_load(
    half_bundle: Path, cuda: PretendDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> bytes:
        raise BackendError("NVRTC cannot compile")

    monkeypatch.setattr("tacoglow.runtime.backends.cuda.nvrtc.compile_cubin", refuse)
    with pytest.raises(BackendError, match="the fused decoder: NVRTC cannot compile; use --decoder engine"):
        on_device(half_bundle, "fused")
    for name in ("gpu_unavailable_reason", "tensorrt_unavailable_reason"):
        monkeypatch.setattr(backend, name, lambda *arguments: None)
    with pytest.raises(BackendError, match="NVRTC cannot compile"):
        open_backend("auto", half_bundle, load_manifest(half_bundle), BackendOptions(decoder="fused"))


def test_cpu_backend_rejects_fused(half_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"decoder 'fused': needs a TensorRT backend, got onnxruntime"):
        Synthesizer.load(half_bundle, "onnxruntime", decoder="fused")


def test_package_for_cpp(
    half_bundle: Path, cuda: PretendDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = on_device(half_bundle).backend
    assert isinstance(opened, TensorRTBackend)
    assert opened.copy_kernels(tmp_path) == tmp_path / "kernels"
    fused = msgspec.json.decode((tmp_path / "kernels" / "kernels.json").read_bytes())["fused"]
    assert fused["decoder"] == "fused, tagged exchange"
    assert [(kernel["batch"], kernel["tokens"]) for kernel in fused["kernels"]] == [(n, 128) for n in (1, 2, 4, 8)]
    engine = on_device(half_bundle, "engine").backend
    assert isinstance(engine, TensorRTBackend)
    assert engine.copy_kernels(tmp_path) == tmp_path / "kernels"
    about = msgspec.json.decode((tmp_path / "kernels" / "kernels.json").read_bytes())
    assert (about["fused"], about["noise"]["file"]) == (None, "noise.cubin")
    monkeypatch.setattr(nvrtc, "compile_cubin", lambda *arguments: b"damaged")
    with pytest.warns(NoiseWarning, match="noise is drawn on the host"):
        assert engine.copy_kernels(tmp_path) is None
    assert not (tmp_path / "kernels").exists()
