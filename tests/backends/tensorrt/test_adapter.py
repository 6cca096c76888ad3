"""Every name that the adapter asks TensorRT for exists where it says so, in the real classes, without a GPU.

The runtime's classes are TensorRT 11's own (`tensorrt_lean`), the builder's those of TensorRT-RTX, which is built from
the same sources. Nothing is created: a Runtime without a driver ends the process.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tacoglow.runtime.backends.tensorrt.versions import COMPUTING_LAYERS, TensorRT, load_tensorrt

ROOT = Path(__file__).parents[3] / "runtime"
# What a variable holds, by its name in the two files -> the class of the module.
RUNTIME_CLASSES = {
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
}
BUILDER_CLASSES = {
    "_builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "error": "ParserError",
}
ONLY_RTX = {"is_stream_capturable"}  # asked for by name, and not in TensorRT
# What only older versions have, and what the adapter uses in its place where that is there.
OLDER = {
    "create_execution_context_without_device_memory": "create_execution_context",
    "device_memory_size": "device_memory_size_v2",
    "precision": None,  # layer by layer: strong typing has taken its place
    "set_output_type": None,
}


@pytest.fixture(scope="module")
def lean() -> ModuleType:
    if importlib.util.find_spec("tensorrt_lean") is None and not os.environ.get("TACOGLOW_REQUIRE_TENSORRT"):
        pytest.skip("tensorrt_lean is not installed (pip install tensorrt-lean-cu13)")
    return importlib.import_module("tensorrt_lean")


def used(path: Path, classes: dict[str, str]) -> set[tuple[str, str]]:
    """(class, attribute) of everything that is asked of the variables named in `classes`."""

    def name_of(node: ast.expr) -> str | None:
        return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None

    def found() -> Iterator[tuple[str, str]]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and (owner := classes.get(name_of(node.value) or "")):
                yield owner, node.attr
            match node:
                case ast.Call(func=ast.Name("hasattr" | "getattr"), args=[asked, ast.Constant(str(attribute)), *_]):
                    if owner := classes.get(name_of(asked) or ""):
                        yield owner, attribute

    return set(found())


def lacking(module: Any, asked: set[tuple[str, str]]) -> list[str]:
    """What the module's classes lack, without a newer name for it."""
    missing = []
    for owner, attribute in sorted(asked):
        kind = getattr(module, owner)
        if not hasattr(kind, attribute):
            newer = OLDER.get(attribute, attribute)
            if newer is not None and not hasattr(kind, newer):
                missing.append(f"{owner}.{attribute}")
    return missing


def test_the_runtime_against_tensorrt_11(lean: ModuleType) -> None:
    asked = used(ROOT / "backends" / "tensorrt" / "backend.py", RUNTIME_CLASSES)
    assert ("IExecutionContext", "execute_async_v3") in asked
    assert ("Runtime", "deserialize_cuda_engine") in asked
    assert ("ICudaEngine", "device_memory_size_v2") in asked
    assert lean.__version__.startswith("11.")
    assert not lacking(lean, {(owner, name) for owner, name in asked if name not in ONLY_RTX})
    assert lean.ExecutionContextAllocationStrategy.USER_MANAGED is not None


def test_the_runtime_against_rtx(rtx: TensorRT) -> None:
    assert not lacking(rtx.module, used(ROOT / "backends" / "tensorrt" / "backend.py", RUNTIME_CLASSES))


def test_the_runtime_cache_against_rtx(rtx: TensorRT) -> None:
    classes = {"engine": "ICudaEngine", "config": "IRuntimeConfig", "cache": "IRuntimeCache", "_cache": "IRuntimeCache"}
    used_names = used(ROOT / "backends" / "tensorrt" / "runtime_cache.py", classes)
    assert ("IRuntimeConfig", "set_runtime_cache") in used_names
    assert ("IRuntimeCache", "deserialize") in used_names
    assert not lacking(rtx.module, used_names)
    assert rtx.member("DynamicShapesKernelSpecializationStrategy", "EAGER") is not None


def test_the_builder_against_rtx(rtx: TensorRT) -> None:
    asked = used(ROOT / "backends" / "tensorrt" / "builder.py", BUILDER_CLASSES)
    assert ("Builder", "build_serialized_network") in asked
    assert ("IBuilderConfig", "add_optimization_profile") in asked
    assert ("ParserError", "node_operator") in asked
    assert not lacking(rtx.module, asked)


def test_names_of_enum_members(rtx: TensorRT, lean: ModuleType) -> None:
    """Present where they are meant to be; None, and no error, where they are not."""
    eleven = TensorRT("tensorrt", lean)
    for tensorrt in (rtx, eleven):
        assert tensorrt.member("HardwareCompatibilityLevel", "AMPERE_PLUS") is not None
        assert tensorrt.member("MemoryPoolType", "WORKSPACE") is not None
        assert tensorrt.member("BuilderFlag", "TF32") is not None
        assert tensorrt.member("DataType", "BF16") is not None
        assert tensorrt.member("BuilderFlag", "FP16") is None  # gone: types are in the network
        assert tensorrt.member("NoSuchEnum", "FP16") is None
        assert tensorrt.absent_tactic_sources() == 0  # and so are tactics that call cuBLAS
    assert rtx.strongly_typed
    assert rtx.builds_ahead_of_time
    present = {name for name in COMPUTING_LAYERS if rtx.member("LayerType", name) is not None}
    assert set(COMPUTING_LAYERS) - present == {"FULLY_CONNECTED"}  # removed in TensorRT 10
    assert rtx.builds_for((8, 9))
    assert not rtx.builds_for((9, 0))


class Enum:
    """Stands for an enum of TensorRT 8.6, by the names and numbers that its headers give."""

    def __init__(self, **members: int) -> None:
        self.__dict__.update(members)


def test_tactic_sources_without_their_libraries_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On TensorRT 8.6, where cuBLAS is there and cuDNN is not."""
    module: Any = ModuleType("tensorrt")
    module.TacticSource = Enum(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
    adapter = importlib.import_module(TensorRT.__module__)
    monkeypatch.setattr(adapter, "_loads", lambda library: "cublas" in library.lower())
    assert TensorRT("tensorrt", module).absent_tactic_sources() == 0b100
    monkeypatch.setattr(adapter, "_loads", lambda library: False)
    assert TensorRT("tensorrt", module).absent_tactic_sources() == 0b111


def test_a_module_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacoglow.runtime.errors import BackendError

    with pytest.raises(BackendError, match="builder 'torch': unknown; choose from auto, tensorrt, tensorrt-rtx"):
        load_tensorrt("torch")

    def broken(name: str) -> ModuleType:
        raise ImportError("libcudnn.so.8: cannot open shared object file")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendError, match=r"tensorrt is installed and cannot be imported: libcudnn.so.8: cannot open"):
        load_tensorrt("auto")
