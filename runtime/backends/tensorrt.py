"""TensorRT engines on a GPU: from the cache or built on demand, over one stream and one block of activation memory."""

from __future__ import annotations

from collections.abc import Mapping
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
        self._tensorrt = load_tensorrt(self.name)
        request = Request(target_of(gpu, self._tensorrt), folder=options.engines)
        engines = provide_engines(bundle, manifest, self._tensorrt, request, TerminalDisplay())
        super().__init__(bundle, _within(manifest, engines), options)
        self._queue = CudaQueue(options.device)
        self._logger = self._tensorrt.logger()
        self._runtime = self._tensorrt.module.Runtime(self._logger)
        self._engines = {graph: self._deserialized(kept) for graph, kept in engines.items()}
        # Contexts run one after the other on one stream, so they can share what they compute in.
        largest = max(_activation_bytes(engine) for engine in self._engines.values())
        self._activations = self._queue.empty((largest,), np.uint8)

    @classmethod
    def missing(cls) -> str | None:
        return missing_gpu() or missing_tensorrt(cls.name)

    def _deserialized(self, kept: Engine) -> Any:
        if kept.recipe.options.version_compatible:
            # Such a plan brings its own runtime, as code; it is one that this machine wrote.
            self._runtime.engine_host_code_allowed = True
        deserialized = self._runtime.deserialize_cuda_engine(kept.plan)
        if deserialized is None:
            said = "; ".join(self._logger.errors) or "it gave no reason"
            raise BackendError(f"{kept.path}: TensorRT cannot load it: {said}; remove it to have it built anew")
        return deserialized

    def _open(self, graph: str) -> GraphRunner:
        engine, tensorrt = self._engines[graph], self._tensorrt
        return TensorRTGraph(
            graph, self.manifest.graphs[graph], self.manifest, self._queue, tensorrt, engine, self._activations
        )


class TensorRTRTXBackend(TensorRTBackend):
    """TensorRT for RTX: one engine for all GPUs of a compute capability, finished where it runs."""

    name = "tensorrt-rtx"

    @classmethod
    def missing(cls) -> str | None:
        missing = super().missing()
        if missing is None:
            tensorrt, capability = load_tensorrt(cls.name), find_gpu(0).compute_capability
            if not tensorrt.builds_for(capability):
                missing = (
                    f"{tensorrt.name} {tensorrt.version} knows no GPU of capability {'.'.join(map(str, capability))}"
                )
        return missing


class TensorRTGraph(DeviceGraphRunner):
    limited_by = "its TensorRT engine"
    wider = "build others: tacoglow build-engines, with --max-batch, --max-tokens, --max-frames"

    def __init__(
        self,
        name: str,
        spec: GraphSpec,
        manifest: Manifest,
        queue: CudaQueue,
        tensorrt: TensorRT,
        engine: Any,
        activations: DeviceArray,
    ) -> None:
        super().__init__(name, spec, manifest, queue)
        self._stream, self._tensorrt, self._engine, self._activations = queue.handle, tensorrt, engine, activations

    def new_context(self) -> TensorRTContext:
        user_managed = self._tensorrt.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        if user_managed is None:
            context = self._engine.create_execution_context_without_device_memory()
        else:
            context = self._engine.create_execution_context(user_managed)
        if context is None:
            raise BackendError(f"{self.name}: TensorRT cannot create an execution context; is the GPU's memory full?")
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._activations.address, self._activations.nbytes)
        else:
            context.device_memory = self._activations.address
        return TensorRTContext(self.name, self.spec, context, self._stream)


class TensorRTContext:
    def __init__(self, name: str, spec: GraphSpec, context: Any, stream: int) -> None:
        self._name, self._spec, self._context, self._stream = name, spec, context, stream

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        context, stream = self._context, self._stream
        shapes = [(tensor.name, buffers[tensor.name].shape) for tensor in self._spec.inputs]
        addresses = [(name, buffers[name].address) for name in self._spec.tensors]
        held = dict(buffers)

        # A context remembers one set of shapes and addresses, the last; what another binding left is overwritten.
        def enqueue(_held: Mapping[str, DeviceArray] = held) -> None:
            for name, shape in shapes:
                context.set_input_shape(name, shape)
            for name, address in addresses:
                context.set_tensor_address(name, address)
            if not context.execute_async_v3(stream):
                raise BackendError(f"{self._name}: TensorRT could not enqueue the engine")

        return enqueue


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
