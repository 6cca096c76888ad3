"""Runs TensorRT engines, cached or built on demand.

What makes samples of frames has a stream of its own: it need not wait for decoder steps that are launched ahead.
The engines of a stream run one after the other, in one block of activation memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...errors import BackendError
from ...manifest import DimRange, GraphSpec, Manifest
from ..base import Backend, BackendOptions, GraphRunner
from ..cuda.fused.choice import choose_decoder
from ..cuda.fused.package import remove_package, write_package
from ..cuda.fused.proof import run_in_process
from ..cuda.fused.steps import FusedDecoder
from ..cuda.graph import CudaGraphRunner
from ..cuda.noise import open_device_noise
from ..cuda.stream import CudaStream, DeviceArray, Enqueue, find_gpu, gpu_unavailable_reason
from .builder import TerminalProgress
from .cache import Engine, EngineCache, EngineRequest, get_or_build_engines, target_of
from .runtime_cache import RuntimeCache
from .versions import TensorRT, load_tensorrt, tensorrt_unavailable_reason

Corners = tuple[tuple[int, ...], tuple[int, ...]]  # the smallest and the largest shape


class TensorRTBackend(Backend):
    """TensorRT 8.5 to 11: engines for one GPU model."""

    name = "tensorrt"
    runs_asynchronously = True
    pads_token_ids = True
    has_fused_decoder = True

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        gpu = find_gpu(options.device)
        self.device = f"{gpu.name}, GPU {gpu.index}"
        self._tensorrt, self._target = load_tensorrt(self.name), target_of(gpu, load_tensorrt(self.name))
        engines = self._get_engines(bundle, manifest, options, manifest.always_used)
        super().__init__(bundle, _limit_to_engines(manifest, engines), options)
        runtime_cache = self._runtime_cache()
        self._to_frames, self._to_samples = (
            LoadedEngines(self._tensorrt, self.manifest, CudaStream(options.device), runtime_cache) for _ in range(2)
        )
        self._noise = open_device_noise(self._to_frames.stream, gpu, EngineCache(options.engines).folder)
        for graph, engine in engines.items():
            self._engines_with(graph).load(graph, engine)

    @classmethod
    def unavailable_reason(cls) -> str | None:
        return gpu_unavailable_reason() or tensorrt_unavailable_reason(cls.name)

    def _get_engines(
        self, bundle: Path, manifest: Manifest, options: BackendOptions, graphs: Sequence[str]
    ) -> dict[str, Engine]:
        request = EngineRequest(self._target, folder=options.engines, graphs=graphs)
        return get_or_build_engines(bundle, manifest, self._tensorrt, request, TerminalProgress())

    def _runtime_cache(self) -> RuntimeCache | None:
        """For TensorRT-RTX, which compiles kernels where the engine runs."""
        if not self._tensorrt.builds_ahead_of_time:
            return None
        name = f"kernels-{self._tensorrt.version}-{self._target.capability}.cache"
        return RuntimeCache(self._tensorrt, EngineCache(self.options.engines).folder / name)

    def synchronize(self) -> None:
        for engines in (self._to_frames, self._to_samples):
            engines.stream.record().wait()

    def _engines_with(self, graph: str) -> LoadedEngines:
        return self._to_frames if graph in ("encoder", "decoder_step") else self._to_samples

    def _open(self, graph: str) -> GraphRunner:
        if graph not in self.manifest.always_used:
            engine = self._get_engines(self.bundle, self.manifest, self.options, [graph])[graph]
            self._engines_with(graph).load(graph, engine)
        runner = TensorRTGraph(graph, self.manifest, self._engines_with(graph))
        runner.noise = None if self._noise is None else self._noise.on(runner.stream)
        if graph == "decoder_step":
            fused = self._choose_decoder()
            runner.fused_steps = None if fused is None else fused.steps
        return runner

    def copy_decoder(self, plans: Path) -> Path | None:
        """Write the fused decoder beside plans, for C++; returns its folder, or None where the engine decodes."""
        fused = self._choose_decoder()
        if fused is None:
            remove_package(plans)
            return None
        return write_package(plans, fused, self.manifest, find_gpu(self.options.device), self.decoder)

    def _choose_decoder(self) -> FusedDecoder | None:
        gpu, engines = find_gpu(self.options.device), EngineCache(self.options.engines).folder
        fused, self.decoder = choose_decoder(
            self.bundle,
            self.manifest,
            self.name,
            gpu,
            self._to_frames.stream,
            self.options,
            engines,
            run_in_process(f"{__package__}.decoder_proof"),
        )
        return fused


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

    def __init__(self, name: str, manifest: Manifest, engines: LoadedEngines) -> None:
        super().__init__(name, manifest.graphs[name], manifest, engines.stream)
        self._engines = engines

    def new_context(self) -> TensorRTContext:
        return self._engines.new_context(self.name)


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
        """A context's memory: shared, since contexts run one after the other; a larger engine gets a larger block."""
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
    """The smallest and the largest shape of every input, by profile of the engine."""
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
