"""Checks every TensorRT name that the backend uses against the real classes, without a GPU.

The runtime classes are TensorRT 11's (`tensorrt_lean`), the builder classes those of TensorRT-RTX, which is built from
the same sources. No object is created, because a Runtime without a driver aborts the process.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tacoglow.runtime.backends.tensorrt.versions import COMPUTING_LAYERS, TensorRT, load_tensorrt

ROOT = Path(__file__).parents[4] / "runtime"
# Name of a variable in engines.py -> the TensorRT class of its value.
RUNTIME_CLASSES = {
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
}
# The same for builder.py.
BUILDER_CLASSES = {
    "_builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "error": "ParserError",
}
ONLY_RTX = {"is_stream_capturable"}  # called if present; TensorRT does not have it
# Attribute that only older versions have -> the newer attribute that replaces it, or None.
OLDER = {
    "create_execution_context_without_device_memory": "create_execution_context",
    "device_memory_size": "device_memory_size_v2",
    "precision": None,  # replaced by strong typing, like set_output_type
    "set_output_type": None,
}


@pytest.fixture(scope="module")
def lean() -> ModuleType:
    if importlib.util.find_spec("tensorrt_lean") is None and not os.environ.get("TACOGLOW_REQUIRE_TENSORRT"):
        pytest.skip("tensorrt_lean is not installed (pip install tensorrt-lean-cu13)")
    return importlib.import_module("tensorrt_lean")


def names_used(path: Path, classes: dict[str, str]) -> set[tuple[str, str]]:
    """(class, attribute) of every attribute access to the variables named in `classes`."""

    def name_of(node: ast.expr) -> str | None:
        return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None

    def found() -> Iterator[tuple[str, str]]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and (owner := classes.get(name_of(node.value) or "")):
                yield owner, node.attr
            match node:
                case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[value, ast.Constant(str(attribute)), *_]):
                    if owner := classes.get(name_of(value) or ""):
                        yield owner, attribute

    return set(found())


def find_missing(module: Any, names: set[tuple[str, str]]) -> list[str]:
    """The attributes that the module's classes do not have, under a newer name either."""
    missing = []
    for owner, attribute in sorted(names):
        kind = getattr(module, owner)
        if not hasattr(kind, attribute):
            newer = OLDER.get(attribute, attribute)
            if newer is not None and not hasattr(kind, newer):
                missing.append(f"{owner}.{attribute}")
    return missing


def test_runtime_names_exist_in_tensorrt_11(lean: ModuleType) -> None:
    names = names_used(ROOT / "backends" / "tensorrt" / "engines.py", RUNTIME_CLASSES)
    assert ("IExecutionContext", "execute_async_v3") in names
    assert ("Runtime", "deserialize_cuda_engine") in names
    assert ("ICudaEngine", "device_memory_size_v2") in names
    assert lean.__version__.startswith("11.")
    assert not find_missing(lean, {(owner, name) for owner, name in names if name not in ONLY_RTX})
    assert lean.ExecutionContextAllocationStrategy.USER_MANAGED is not None


def test_runtime_names_exist_in_tensorrt_rtx(rtx: TensorRT) -> None:
    assert not find_missing(rtx.module, names_used(ROOT / "backends" / "tensorrt" / "engines.py", RUNTIME_CLASSES))


def test_runtime_cache_names_exist_in_tensorrt_rtx(rtx: TensorRT) -> None:
    classes = {"engine": "ICudaEngine", "config": "IRuntimeConfig", "cache": "IRuntimeCache", "_cache": "IRuntimeCache"}
    names = names_used(ROOT / "backends" / "tensorrt" / "runtime_cache.py", classes)
    assert ("IRuntimeConfig", "set_runtime_cache") in names
    assert ("IRuntimeCache", "deserialize") in names
    assert not find_missing(rtx.module, names)
    assert rtx.member("DynamicShapesKernelSpecializationStrategy", "EAGER") is not None


def test_builder_names_exist_in_tensorrt_rtx(rtx: TensorRT) -> None:
    names = names_used(ROOT / "backends" / "tensorrt" / "builder.py", BUILDER_CLASSES)
    assert ("Builder", "build_serialized_network") in names
    assert ("IBuilderConfig", "add_optimization_profile") in names
    assert ("ParserError", "node_operator") in names
    assert not find_missing(rtx.module, names)


def test_enum_members(rtx: TensorRT, lean: ModuleType) -> None:
    """A member is None, without an error, if this version does not have it."""
    eleven = TensorRT("tensorrt", lean)
    for tensorrt in (rtx, eleven):
        assert tensorrt.member("HardwareCompatibilityLevel", "AMPERE_PLUS") is not None
        assert tensorrt.member("MemoryPoolType", "WORKSPACE") is not None
        assert tensorrt.member("BuilderFlag", "TF32") is not None
        assert tensorrt.member("DataType", "BF16") is not None
        assert tensorrt.member("BuilderFlag", "FP16") is None  # removed: types are in the network
        assert tensorrt.member("NoSuchEnum", "FP16") is None
        assert tensorrt.absent_tactic_sources() == 0  # tactics that call cuBLAS are removed too
    assert rtx.strongly_typed
    assert rtx.builds_ahead_of_time
    present = {name for name in COMPUTING_LAYERS if rtx.member("LayerType", name) is not None}
    assert set(COMPUTING_LAYERS) - present == {"FULLY_CONNECTED"}  # removed in TensorRT 10
    assert rtx.builds_for((8, 9))
    assert not rtx.builds_for((9, 0))


def test_tactic_sources_without_libraries_are_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT 8.6, first with cuBLAS but without cuDNN, then without either."""
    module: Any = ModuleType("tensorrt")
    module.TacticSource = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
    versions = importlib.import_module(TensorRT.__module__)
    monkeypatch.setattr(versions, "_loads", lambda library: "cublas" in library.lower())
    assert TensorRT("tensorrt", module).absent_tactic_sources() == 0b100
    monkeypatch.setattr(versions, "_loads", lambda library: False)
    assert TensorRT("tensorrt", module).absent_tactic_sources() == 0b111


def test_import_errors_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacoglow.runtime.errors import BackendError

    with pytest.raises(BackendError, match="builder 'torch': unknown; choose from auto, tensorrt, tensorrt-rtx"):
        load_tensorrt("torch")

    def broken(name: str) -> ModuleType:
        raise ImportError("libcudnn.so.8: cannot open shared object file")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendError, match=r"tensorrt is installed but cannot be imported: libcudnn.so.8: cannot open"):
        load_tensorrt("auto")
