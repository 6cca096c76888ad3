"""Simulates TensorRT's runtime classes under the pretended driver; ONNX Runtime computes the results.

Breaking a rule of TensorRT's headers is always an error here, even if TensorRT leaves the outcome undefined.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tacoglow.runtime.backends.base import BackendOptions, GraphRunner
from tacoglow.runtime.backends.cuda.slots import ALIGNMENT
from tacoglow.runtime.backends.onnxruntime import OnnxRuntimeBackend
from tacoglow.runtime.backends.tensorrt import backend
from tacoglow.runtime.backends.tensorrt.cache import Engine, EngineRequest
from tacoglow.runtime.backends.tensorrt.engine_key import (
    EngineKey,
    input_shapes,
    make_engine_key,
    optimization_profiles,
)
from tacoglow.runtime.backends.tensorrt.versions import TensorRT
from tacoglow.runtime.bundle.manifest import GraphSpec, Manifest, match_shape
from tacoglow.tests.pretend_driver.driver import WORKS, PretendDriver, install

SHARES_PROFILES = {"8.5.3": False, "8.6.0": True, "11.4.0": True}


class SimulatedTensorRT:
    """TensorRT of one version. contexts, engines: numbers of contexts created and engines loaded, by graph."""

    cuda: PretendDriver

    def __init__(self, version: str = "11.4.0") -> None:
        self.version = version
        self.contexts: dict[str, int] = {}
        self.engines: dict[str, int] = {}
        self.host: OnnxRuntimeBackend | None = None
        self.engine_keys: dict[str, EngineKey] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuda = install(monkeypatch)
        monkeypatch.setattr(backend, "load_tensorrt", lambda name: TensorRT(name, self.module()))
        monkeypatch.setattr(backend, "get_or_build_engines", self.get_or_build_engines)
        monkeypatch.setattr(backend, "open_device_noise", lambda *arguments: None)  # the host draws, to the same bits

    def module(self) -> Any:
        module: Any = ModuleType("tensorrt")
        module.__version__ = self.version
        severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)
        module.ILogger = type("ILogger", (), {"Severity": severity})
        module.IBuilderConfig = type("IBuilderConfig", (), {})
        module.Runtime = lambda logger: SimulatedRuntime(self, logger)
        if self.version.startswith("8.6"):
            module.PreviewFeature = SimpleNamespace(PROFILE_SHARING_0806=2)
        if not self.version.startswith("8."):
            module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
        return module

    def get_or_build_engines(
        self, bundle: Any, manifest: Manifest, tensorrt: TensorRT, request: EngineRequest, progress: object
    ) -> dict[str, Engine]:
        """Engines whose plan is the name of their graph."""
        self.host = self.host or OnnxRuntimeBackend(bundle, manifest, BackendOptions(threads=1))
        names = tensorrt.name, tensorrt.version
        engine_keys = {
            graph: make_engine_key(manifest, graph, names, request.target, request.limits, request.options)
            for graph in request.graphs or manifest.graph_names
        }
        self.engine_keys |= engine_keys
        return {
            graph: Engine(bundle / f"{graph}.plan", engine_key, graph.encode())
            for graph, engine_key in engine_keys.items()
        }

    def spec(self, graph: str) -> GraphSpec:
        assert self.host is not None
        return self.host.manifest.graphs[graph]


class SimulatedRuntime:
    def __init__(self, tensorrt: SimulatedTensorRT, logger: Any) -> None:
        self._tensorrt, self._logger = tensorrt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> SimulatedEngine:
        graph = plan.decode()
        self._tensorrt.engines[graph] = self._tensorrt.engines.get(graph, 0) + 1
        return SimulatedEngine(self._tensorrt, self._logger, graph)


class SimulatedEngine:
    device_memory_size = 1 << 12

    def __init__(self, tensorrt: SimulatedTensorRT, logger: Any, graph: str) -> None:
        self.tensorrt, self.logger, self.graph = tensorrt, logger, graph
        self._has_profile_in_use = False
        key = tensorrt.engine_keys[graph]
        self.profiles = [
            input_shapes(tensorrt.spec(graph), profile)
            for profile in optimization_profiles(key.profile, key.token_buckets)
        ]
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        fixed = self.tensorrt.spec(self.graph).tensors[name]
        return self.profiles[profile].get(name) or [fixed.resolve({})] * 3

    def create_execution_context(self, strategy: int) -> SimulatedContext:
        assert strategy == 2
        return self._new_context()

    def create_execution_context_without_device_memory(self) -> SimulatedContext:
        return self._new_context()

    def _new_context(self) -> SimulatedContext:
        self.tensorrt.contexts[self.graph] = self.tensorrt.contexts.get(self.graph, 0) + 1
        has_profile = SHARES_PROFILES[self.tensorrt.version] or not self._has_profile_in_use
        self._has_profile_in_use = True
        return SimulatedContext(self, has_profile)


class SimulatedContext:
    device_memory = 0

    def __init__(self, engine: SimulatedEngine, has_profile: bool) -> None:
        self._engine, self._has_profile = engine, has_profile
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._is_prepared = False
        self._profile = 0
        self._kernels = _Kernels()
        assert engine.tensorrt.host is not None
        self._host: GraphRunner = engine.tensorrt.host.open(engine.graph)

    def set_optimization_profile_async(self, profile: int, handle: int) -> bool:
        self._profile = profile
        self._shapes, self._is_prepared = {}, False
        self._kernels.shapes_version += 1
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, self._profile)
        assert all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)), (name, shape)
        if not self._has_profile:
            return self._fail("profile 0 is in use by another execution context")
        self._shapes[name] = shape
        self._is_prepared = False
        self._kernels.shapes_version += 1
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % ALIGNMENT == 0, f"{name}: expected an address aligned to {ALIGNMENT} bytes"
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        cuda = self._engine.tensorrt.cuda
        cuda.bytes_at(self.device_memory, self._engine.device_memory_size)
        is_captured = cuda.is_capturing(handle)
        assert self._is_prepared or not is_captured, "the first run after new shapes must not be captured"
        self._is_prepared = True
        spec, version = self._host.spec, self._kernels.shapes_version
        dims: dict[str, int] = {}
        assert all(match_shape(tensor, self._shapes[tensor.name], dims) for tensor in spec.inputs)
        tensors = {
            name: (self._addresses[name], tensor.resolve(dims), np.dtype(tensor.dtype))
            for name, tensor in spec.tensors.items()
        }
        context, host, is_encoder = self._kernels, self._host, self._engine.graph == "encoder"
        context.stream = handle

        # Keeps `context` but not this object, so that a graph that outlives its execution context is found out.
        def work() -> None:
            assert context.is_loaded, f"{spec.file}: the execution context of this work is destroyed"
            assert not is_captured or version == context.shapes_version, (
                "the shapes of a captured graph's context have changed"
            )
            arrays = {name: _array(cuda, *tensor) for name, tensor in tensors.items()}
            if is_encoder:
                _encode(host, arrays)
            else:
                host.bind(arrays)()

        status = cuda.enqueue(handle, work)
        return status == WORKS or self._fail(f"the driver returned {status}: cannot capture")

    def __del__(self) -> None:
        if self._kernels.stream is not None:
            self._engine.tensorrt.cuda.drain(self._kernels.stream)
        self._kernels.is_loaded = False

    def _fail(self, reason: str) -> bool:
        logger = self._engine.logger
        logger.log(logger.Severity.ERROR, reason)
        return False


class _Kernels:
    """The part of an execution context that its work runs."""

    is_loaded = True
    shapes_version = 0
    stream: int | None = None  # that it ran on last


def _array(
    cuda: PretendDriver, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray[Any, np.dtype[Any]]:
    return cuda.bytes_at(address, int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)


def _encode(host: GraphRunner, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Run the encoder without the padding: on the host it rounds differently at a different padded length."""
    ids, lengths = arrays["token_ids"], arrays["token_lengths"]
    outputs = host.run(token_ids=np.ascontiguousarray(ids[:, : lengths.max()]), token_lengths=lengths)
    for name, output in outputs.items():
        arrays[name][:] = name == "memory_mask"
        arrays[name][:, : output.shape[1]] = output
