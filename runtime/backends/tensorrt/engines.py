"""Engines on a GPU: deserialized, and run by execution contexts on one stream, in one block of activation memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...bundle.manifest import GraphSpec, Manifest
from ...errors import BackendError
from ..cuda.stream import CudaStream, DeviceArray, Enqueue
from .cache import Engine
from .runtime_cache import RuntimeCache
from .versions import TensorRT

Corners = tuple[tuple[int, ...], tuple[int, ...]]  # the smallest and the largest shape


class LoadedEngines:
    """Deserializes engines of a bundle and creates their execution contexts, which all run on one stream."""

    def __init__(
        self, tensorrt: TensorRT, manifest: Manifest, stream: CudaStream, runtime_cache: RuntimeCache | None
    ) -> None:
        self._tensorrt, self._manifest, self.stream = tensorrt, manifest, stream
        self._runtime_cache = runtime_cache
        self._logger = tensorrt.logger()
        self._runtime = tensorrt.module.Runtime(self._logger)
        self._engines: dict[str, Any] = {}
        self._plans: dict[str, Engine] = {}  # if contexts cannot share a profile: what each deserializes for itself
        self._activations = stream.empty((0,), np.uint8)

    def load(self, graph: str, cached: Engine) -> None:
        self._engines[graph] = self._deserialize(cached)
        if not self._tensorrt.shares_profiles:
            self._plans[graph] = cached

    def _activation_memory(self, nbytes: int) -> DeviceArray:
        """Return the memory that all contexts share, since they run one after the other, enlarged if need be."""
        if self._activations.nbytes < nbytes:
            largest = max(_activation_bytes(engine) for engine in self._engines.values())
            self._activations = self.stream.empty((largest,), np.uint8)
        return self._activations

    def new_context(self, graph: str) -> TensorRTContext:
        engine = self._engine_for_context(graph)
        context = self._create_context(engine)
        if context is None:
            raise self._error(graph, "cannot create an execution context")
        memory = self._activation_memory(_activation_bytes(engine))
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(memory.address, memory.nbytes)
        else:
            context.device_memory = memory.address
        spec = self._manifest.graphs[graph]
        profiles = _profile_shapes(engine, spec)
        return TensorRTContext(spec, context, profiles, memory, self.stream, partial(self._error, graph))

    def _create_context(self, engine: Any) -> Any:
        user_managed = self._tensorrt.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        if user_managed is None:
            return engine.create_execution_context_without_device_memory()
        if self._runtime_cache is None:
            return engine.create_execution_context(user_managed)
        return engine.create_execution_context(self._runtime_cache.config(engine))

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

    def __init__(
        self,
        spec: GraphSpec,
        context: Any,
        profiles: Sequence[Mapping[str, Corners]],
        memory: DeviceArray,
        stream: CudaStream,
        error: Callable[[str], BackendError],
    ) -> None:
        """profiles: the engine's. memory: the context's activation memory, kept alive as long as the context."""
        self._spec, self._context, self._profiles, self._memory = spec, context, profiles, memory
        self._profile = 0
        self._stream, self._error = stream.handle, error
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

    def is_capturable(self) -> bool:
        """False if the engine reports that its work at the present shapes cannot be captured (TensorRT-RTX)."""
        is_stream_capturable = getattr(self._context, "is_stream_capturable", None)
        return is_stream_capturable is None or bool(is_stream_capturable(self._stream))

    def _set_profile(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Select the engine's last profile that admits the shapes: later profiles are for fewer shapes, and faster."""
        admitted = [i for i, profile in enumerate(self._profiles) if _admits(profile, shapes)]
        if admitted and admitted[-1] != self._profile:
            if not self._context.set_optimization_profile_async(admitted[-1], self._stream):
                raise self._error(f"cannot use profile {admitted[-1]}")
            self._profile, self._shapes = admitted[-1], {}

    def _set_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Set the shapes that have changed; setting one makes the next run do work that cannot be captured."""
        if shapes != self._shapes:
            self._set_profile(shapes)
        for name, shape in shapes.items():
            if self._shapes.get(name) != shape:
                if not self._context.set_input_shape(name, shape):
                    raise self._error(f"does not accept shape {shape} for {name}")
                self._shapes[name] = shape


def _profile_shapes(engine: Any, spec: GraphSpec) -> list[dict[str, Corners]]:
    """Return the smallest and the largest shape of every input, by profile of the engine."""
    profiles = []
    for profile in range(engine.num_optimization_profiles):
        shapes = {tensor.name: engine.get_tensor_profile_shape(tensor.name, profile) for tensor in spec.inputs}
        profiles.append({name: (tuple(corners[0]), tuple(corners[2])) for name, corners in shapes.items()})
    return profiles


def _admits(profile: Mapping[str, Corners], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return all(
        least <= size <= most
        for name, shape in shapes.items()
        for least, size, most in zip(profile[name][0], shape, profile[name][1], strict=True)
    )


def _activation_bytes(engine: Any) -> int:
    """Return the bytes of activation memory that a context of the engine needs at the largest shapes of its profile."""
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)
