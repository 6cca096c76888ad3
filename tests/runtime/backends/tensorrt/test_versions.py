"""The messages of TensorRT's logger, and which GPU TensorRT-RTX is asked about."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tacoglow.runtime import backends
from tacoglow.runtime.backends.base import BackendOptions
from tacoglow.runtime.backends.cuda.device import Gpu
from tacoglow.runtime.backends.tensorrt import backend
from tacoglow.runtime.backends.tensorrt.backend import TensorRTRTXBackend
from tacoglow.runtime.backends.tensorrt.versions import TensorRT
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError


def test_an_error_is_reported_once() -> None:
    severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, INFO=3)
    module: Any = SimpleNamespace(ILogger=type("ILogger", (), {"Severity": severity}))
    logger = TensorRT("tensorrt", module).logger()
    logger.log(severity.ERROR, "first")
    logger.log(severity.INFO, "nothing")
    logger.log(severity.INTERNAL_ERROR, "second")
    assert logger.summary() == "first; second"
    logger.log(severity.ERROR, "third")
    assert logger.summary() == "third"
    assert logger.summary() == "no error was logged"


def test_rtx_is_asked_about_the_selected_gpu(rtx: TensorRT, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPU 0 is a Hopper, which it does not support; GPU 1 an Ada."""
    capabilities = [(9, 0), (8, 9)]
    monkeypatch.setattr(backend, "gpu_unavailable_reason", lambda device: None)
    monkeypatch.setattr(backend, "find_gpu", lambda index: Gpu(index, "a GPU", capabilities[index]))
    assert TensorRTRTXBackend.unavailable_reason(1) is None
    message = "does not support compute capability 9.0"
    assert message in (TensorRTRTXBackend.unavailable_reason(0) or "")
    manifest = load_manifest(tiny_bundle)
    with pytest.raises(BackendError, match=message):
        backends.open_backend("tensorrt-rtx", tiny_bundle, manifest, BackendOptions(device=0))
    monkeypatch.setattr(TensorRTRTXBackend, "__init__", opened_instead)
    with pytest.raises(BackendError, match="opened for GPU 1"):
        backends.open_backend("tensorrt-rtx", tiny_bundle, manifest, BackendOptions(device=1))


def opened_instead(opened: object, bundle: Path, manifest: object, options: BackendOptions) -> None:
    raise BackendError(f"opened for GPU {options.device}")
