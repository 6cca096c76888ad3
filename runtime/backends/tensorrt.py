"""TensorRT engines on a GPU: from the cache or built on demand, over one stream and one block of activation memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..device.cuda import CudaQueue, find_gpu, missing_gpu
from ..device.queue import DeviceArray, Enqueue
from ..device.runner import DeviceGraphRunner
from ..engines.cache import Engine
from ..engines.display import TerminalDisplay
from ..engines.provide import Request, provide_engines, target_of
from ..engines.tensorrt import TensorRT, load_tensorrt, missing_tensorrt
from ..errors import BackendError
from ..manifest import DimRange, GraphSpec, Manifest
from .base import Backend, BackendOptions, GraphRunner


class TensorRTBackend(Backend):
    name = "tensorrt"
    leaves_host_free = True

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        gpu = find_gpu(options.device)
        self.device = f"{gpu.name}, GPU {gpu.index}"
        tensorrt = load_tensorrt(self.name)
        request = Request(target_of(gpu, tensorrt), folder=options.engines)
        engines = provide_engines(bundle, manifest, tensorrt, request, TerminalDisplay())
        super().__init__(bundle, _within(manifest, engines), options)
        self._queue = CudaQueue(options.device)
        self._engines = LoadedEngines(tensorrt, engines, self.manifest, self._queue)

    @classmethod
    def missing(cls) -> str | None:
        return missing_gpu() or missing_tensorrt(cls.name)

    def _open(self, graph: str) -> GraphRunner:
        return TensorRTGraph(graph, self.manifest, self._queue, self._engines)


class TensorRTRTXBackend(TensorRTBackend):
    """TensorRT for RTX: one engine for all GPUs of a compute capability, finished where it runs."""

    name = "tensorrt-rtx"

    @classmethod
    def missing(cls) -> str | None:
        missing = super().missing()
        if missing is None:
            tensorrt = load_tensorrt(cls.name)
            target = target_of(find_gpu(0), tensorrt)
            if not tensorrt.builds_for(target.compute_capability):
                missing = f"{tensorrt.name} {tensorrt.version} knows no GPU of capability {target.capability}"
        return missing


class TensorRTGraph(DeviceGraphRunner):
    limited_by = "its TensorRT engine"
    wider = "build others: tacoglow build-engines, with --max-batch, --max-tokens, --max-frames"

    def __init__(self, name: str, manifest: Manifest, queue: CudaQueue, engines: LoadedEngines) -> None:
        super().__init__(name, manifest.graphs[name], manifest, queue)
        self._engines = engines

    def new_context(self) -> TensorRTContext:
        return self._engines.new_context(self.name)


class LoadedEngines:
    """The engines of a bundle on a GPU, and contexts to run them one after the other on one stream."""

    def __init__(self, tensorrt: TensorRT, kept: Mapping[str, Engine], manifest: Manifest, queue: CudaQueue) -> None:
        self._tensorrt, self._manifest, self._queue = tensorrt, manifest, queue
        self._logger = tensorrt.logger()
        self._runtime = tensorrt.module.Runtime(self._logger)
        self._engines = {graph: self._deserialized(engine) for graph, engine in kept.items()}
        self._plans = {} if tensorrt.shares_profiles else kept
        # Contexts that run one after the other can share what they compute in.
        largest = max(_activation_bytes(engine) for engine in self._engines.values())
        self._activations = queue.empty((largest,), np.uint8)

    def new_context(self, graph: str) -> TensorRTContext:
        engine = self._for_a_context(graph)
        user_managed = self._tensorrt.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        if user_managed is None:
            context = engine.create_execution_context_without_device_memory()
        else:
            context = engine.create_execution_context(user_managed)
        if context is None:
            raise self._refused(graph, "cannot create an execution context")
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._activations.address, self._activations.nbytes)
        else:
            context.device_memory = self._activations.address
        spec = self._manifest.graphs[graph]
        return TensorRTContext(spec, context, self._queue, partial(self._refused, graph))

    def _for_a_context(self, graph: str) -> Any:
        """The engine for one more context: where contexts cannot share its profile, a copy of its own."""
        plan = self._plans.get(graph)
        return self._engines[graph] if plan is None else self._deserialized(plan)

    def _deserialized(self, kept: Engine) -> Any:
        if kept.recipe.options.version_compatible:
            # Such a plan brings its own runtime, as code; it is one that this machine wrote.
            self._runtime.engine_host_code_allowed = True
        deserialized = self._runtime.deserialize_cuda_engine(kept.plan)
        if deserialized is None:
            raise BackendError(f"{kept.path}: TensorRT cannot load it: {self._said()}; remove it to have it built anew")
        return deserialized

    def _refused(self, graph: str, what: str) -> BackendError:
        return BackendError(f"{graph}: TensorRT {what}: {self._said()}")

    def _said(self) -> str:
        return "; ".join(self._logger.errors) or "it gave no reason"


class TensorRTContext:
    """Runs of one engine's graph. refused: makes the error for what TensorRT would not do."""

    def __init__(self, spec: GraphSpec, context: Any, queue: CudaQueue, refused: Callable[[str], BackendError]) -> None:
        self._spec, self._context, self._stream, self._refused = spec, context, queue.handle, refused
        self._shapes: dict[str, tuple[int, ...]] = {}

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        shapes = {tensor.name: buffers[tensor.name].shape for tensor in self._spec.inputs}
        addresses = {name: buffers[name].address for name in self._spec.tensors}
        held = dict(buffers)

        def enqueue(_held: Mapping[str, DeviceArray] = held) -> None:
            self._take(shapes)
            for name, address in addresses.items():
                self._context.set_tensor_address(name, address)
            if not self._context.execute_async_v3(self._stream):
                raise self._refused("could not enqueue the engine")

        return enqueue

    def _take(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Tell the context what differs from its last run: after new shapes it has work that cannot be captured."""
        for name, shape in shapes.items():
            if self._shapes.get(name) != shape:
                if not self._context.set_input_shape(name, shape):
                    raise self._refused(f"does not take {name} of {shape}")
                self._shapes[name] = shape


def _activation_bytes(engine: Any) -> int:
    """What a context of the engine needs to compute in, at the largest shapes of its profile."""
    newer = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if newer is None else newer)


def _within(manifest: Manifest, engines: Mapping[str, Engine]) -> Manifest:
    """The manifest with the ranges that the engines take where they take less."""
    profile = {graph: kept.recipe.profile for graph, kept in engines.items()}
    # The decoder step has batches and tokens as the runtime makes them; the postnet sees whole utterances.
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
