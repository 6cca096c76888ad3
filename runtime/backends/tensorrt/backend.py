"""Runs TensorRT engines, cached or built on demand, on one GPU stream and in one block of activation memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...errors import BackendError
from ...manifest import DimRange, GraphSpec, Manifest
from ..base import Backend, BackendOptions, GraphRunner
from ..cuda.graph import CudaGraphRunner
from ..cuda.stream import CudaStream, DeviceArray, Enqueue, find_gpu, gpu_unavailable_reason
from .builder import TerminalProgress
from .cache import Engine, EngineRequest, get_or_build_engines, target_of
from .versions import TensorRT, load_tensorrt, tensorrt_unavailable_reason


class TensorRTBackend(Backend):
    """TensorRT 8.5 to 11: engines for one GPU model."""

    name = "tensorrt"
    runs_asynchronously = True

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        gpu = find_gpu(options.device)
        self.device = f"{gpu.name}, GPU {gpu.index}"
        tensorrt = load_tensorrt(self.name)
        request = EngineRequest(target_of(gpu, tensorrt), folder=options.engines)
        engines = get_or_build_engines(bundle, manifest, tensorrt, request, TerminalProgress())
        super().__init__(bundle, _limit_to_engines(manifest, engines), options)
        self._stream = CudaStream(options.device)
        self._engines = LoadedEngines(tensorrt, engines, self.manifest, self._stream)

    @classmethod
    def unavailable_reason(cls) -> str | None:
        return gpu_unavailable_reason() or tensorrt_unavailable_reason(cls.name)

    def _open(self, graph: str) -> GraphRunner:
        return TensorRTGraph(graph, self.manifest, self._stream, self._engines)


class TensorRTRTXBackend(TensorRTBackend):
    """TensorRT-RTX: engines for all GPUs of a compute capability, completed on the GPU that runs them."""

    name = "tensorrt-rtx"

    @classmethod
    def unavailable_reason(cls) -> str | None:
        reason = super().unavailable_reason()
        if reason is None:
            tensorrt = load_tensorrt(cls.name)
            target = target_of(find_gpu(0), tensorrt)
            if not tensorrt.builds_for(target.compute_capability):
                reason = f"{tensorrt.name} {tensorrt.version} does not support compute capability {target.capability}"
        return reason


class TensorRTGraph(CudaGraphRunner):
    limit_source = "its TensorRT engine"
    how_to_raise = "build others: tacoglow build-engines, with --max-batch, --max-tokens, --max-frames"

    def __init__(self, name: str, manifest: Manifest, stream: CudaStream, engines: LoadedEngines) -> None:
        super().__init__(name, manifest.graphs[name], manifest, stream)
        self._engines = engines

    def new_context(self) -> TensorRTContext:
        return self._engines.new_context(self.name)


class LoadedEngines:
    """Deserializes a bundle's engines and creates their execution contexts, which all run on one stream."""

    def __init__(
        self, tensorrt: TensorRT, engines: Mapping[str, Engine], manifest: Manifest, stream: CudaStream
    ) -> None:
        self._tensorrt, self._manifest, self._stream = tensorrt, manifest, stream
        self._logger = tensorrt.logger()
        self._runtime = tensorrt.module.Runtime(self._logger)
        self._engines = {graph: self._deserialize(cached) for graph, cached in engines.items()}
        # Plans that must be deserialized again for every context; see TensorRT.shares_profiles.
        self._plans = {} if tensorrt.shares_profiles else engines
        # All contexts run on one stream, one after the other, so they can share their activation memory.
        largest = max(_activation_bytes(engine) for engine in self._engines.values())
        self._activations = stream.empty((largest,), np.uint8)

    def new_context(self, graph: str) -> TensorRTContext:
        engine = self._engine_for_context(graph)
        user_managed = self._tensorrt.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        if user_managed is None:
            context = engine.create_execution_context_without_device_memory()
        else:
            context = engine.create_execution_context(user_managed)
        if context is None:
            raise self._error(graph, "cannot create an execution context")
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._activations.address, self._activations.nbytes)
        else:
            context.device_memory = self._activations.address
        spec = self._manifest.graphs[graph]
        return TensorRTContext(spec, context, self._stream, partial(self._error, graph))

    def _engine_for_context(self, graph: str) -> Any:
        """Return the engine for a new context: a new copy if contexts cannot share a profile."""
        plan = self._plans.get(graph)
        return self._engines[graph] if plan is None else self._deserialize(plan)

    def _deserialize(self, cached: Engine) -> Any:
        if cached.engine_key.options.version_compatible:
            # Such a plan contains its own runtime as code; the cache that it comes from is trusted.
            self._runtime.engine_host_code_allowed = True
        deserialized = self._runtime.deserialize_cuda_engine(cached.plan)
        if deserialized is None:
            raise BackendError(
                f"{cached.path}: TensorRT cannot load this plan: {self._logger.summary()}; delete it to have it rebuilt"
            )
        return deserialized

    def _error(self, graph: str, problem: str) -> BackendError:
        return BackendError(f"{graph}: TensorRT {problem}: {self._logger.summary()}")


class TensorRTContext:
    """Enqueues runs of one engine. error: creates the exception for a problem that TensorRT reports."""

    def __init__(self, spec: GraphSpec, context: Any, stream: CudaStream, error: Callable[[str], BackendError]) -> None:
        self._spec, self._context, self._stream, self._error = spec, context, stream.handle, error
        self._shapes: dict[str, tuple[int, ...]] = {}

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        shapes = {tensor.name: buffers[tensor.name].shape for tensor in self._spec.inputs}
        addresses = {name: buffers[name].address for name in self._spec.tensors}

        # TensorRT stores only addresses; the default argument keeps the memory alive as long as the call.
        def enqueue(_keep_alive: Mapping[str, DeviceArray] = buffers) -> None:
            self._set_shapes(shapes)
            for name, address in addresses.items():
                self._context.set_tensor_address(name, address)
            if not self._context.execute_async_v3(self._stream):
                raise self._error("cannot enqueue the engine")

        return enqueue

    def _set_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Set the shapes that have changed; setting one makes the next run do work that cannot be captured."""
        for name, shape in shapes.items():
            if self._shapes.get(name) != shape:
                if not self._context.set_input_shape(name, shape):
                    raise self._error(f"does not accept shape {shape} for {name}")
                self._shapes[name] = shape


def _activation_bytes(engine: Any) -> int:
    """Bytes of activation memory that a context of the engine needs at the largest shapes of its profile."""
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)


def _limit_to_engines(manifest: Manifest, engines: Mapping[str, Engine]) -> Manifest:
    """Return the manifest with its ranges limited to those of the engines."""
    profile = {graph: cached.engine_key.profile for graph, cached in engines.items()}
    # decoder_step runs all batch sizes and token buckets; the postnet runs on complete utterances.
    limits = {
        "B": profile["decoder_step"]["B"].max,
        "T": min(profile["decoder_step"]["T"].max, profile["encoder"]["T"].max),
        "F": profile["postnet"]["F"].max,
    }
    dimensions = dict(manifest.dimensions)
    for letter, limit in limits.items():
        span = dimensions[letter]
        most = min(span.max, limit)
        dimensions[letter] = DimRange(min=span.min, typical=min(span.typical, most), max=most)
    step = manifest.decoder.frames_per_step
    frames = min(manifest.decoder.max_frames, dimensions["F"].max) // step * step
    decoder = msgspec.structs.replace(manifest.decoder, max_frames=frames)
    return msgspec.structs.replace(manifest, dimensions=dimensions, decoder=decoder)
