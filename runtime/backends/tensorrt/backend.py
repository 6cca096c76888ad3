"""Runs TensorRT engines, cached or built on demand.

What makes samples of frames has a stream of its own: it need not wait for decoder steps that are launched ahead.
The engines of a stream run one after the other, in one block of activation memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import msgspec
import numpy as np

from ...bundle.manifest import DimRange, Manifest, doubling
from ..base import Backend, BackendOptions, GraphRunner, vocoder_window_sizes
from ..cuda.device import find_gpu, gpu_unavailable_reason
from ..cuda.fused.rows import FusedRows
from ..cuda.fused.steps import FusedDecoder, open_fused_decoder
from ..cuda.graph import CudaGraphRunner
from ..cuda.noise import open_device_noise
from ..cuda.package import write_package
from ..cuda.rows import decode_with_engine
from ..cuda.stream import CudaStream
from .builder import TerminalProgress
from .cache import Engine, EngineCache, EngineRequest, get_or_build_engines, target_of
from .engines import LoadedEngines, TensorRTContext
from .runtime_cache import RuntimeCache
from .versions import load_tensorrt, tensorrt_unavailable_reason

SMALLEST_MEL = 32  # frames that the postnet runs at, and their doubles: its time is a small part of the vocoder's


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
    def unavailable_reason(cls, device: int = 0) -> str | None:
        return gpu_unavailable_reason(device) or tensorrt_unavailable_reason(cls.name)

    def _get_engines(
        self, bundle: Path, manifest: Manifest, options: BackendOptions, graphs: Sequence[str]
    ) -> dict[str, Engine]:
        request = EngineRequest(self._target, folder=options.engines, graphs=graphs)
        return get_or_build_engines(bundle, manifest, self._tensorrt, request, TerminalProgress())

    def _runtime_cache(self) -> RuntimeCache | None:
        """Open the cache of TensorRT-RTX, which compiles kernels on the GPU that runs an engine; None for TensorRT."""
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
            self._choose_decoder(runner)
        else:
            runner.prepare_all()
        return runner

    def _choose_decoder(self, step: TensorRTGraph) -> None:
        """Have the fused decoder run the decoder steps, or the engine."""
        tokens = self.manifest.range("T").max
        if self._fused is not None:
            step.new_steps, step.new_rows = self._fused.steps, partial(FusedRows, self._fused, tokens)
            return
        decoder = decode_with_engine(step)
        for bucket in self.manifest.synthesis.token_buckets(tokens):
            decoder.prepare(bucket)

    def copy_kernels(self, plans: Path) -> Path | None:
        """Write compiled kernels beside plans, for C++, as `write_package` does."""
        engines = EngineCache(self.options.engines).folder
        return write_package(plans, find_gpu(self.options.device), engines, self.manifest, self._fused)

    @cached_property
    def _fused(self) -> FusedDecoder | None:
        """The fused decoder, if it is selected, opened at first use. Raises BackendError if it cannot run."""
        if self.options.decoder == "engine":
            return None
        gpu, engines = find_gpu(self.options.device), EngineCache(self.options.engines).folder
        fused = open_fused_decoder(self.bundle, self.manifest, gpu, self._to_frames.stream, engines)
        self.decoder = f"fused, {fused.exchange} exchange"
        return fused


class TensorRTRTXBackend(TensorRTBackend):
    """TensorRT-RTX: engines for all GPUs of a compute capability, completed on the GPU that runs them."""

    name = "tensorrt-rtx"

    @classmethod
    def unavailable_reason(cls, device: int = 0) -> str | None:
        reason = super().unavailable_reason(device)
        if reason is None:
            tensorrt = load_tensorrt(cls.name)
            target = target_of(find_gpu(device), tensorrt)
            if not tensorrt.builds_for(target.compute_capability):
                reason = f"{tensorrt.name} {tensorrt.version} does not support compute capability {target.capability}"
        return reason


class TensorRTGraph(CudaGraphRunner):
    limit_source = "its TensorRT engine"
    how_to_raise = "build others: tacoglow build-engines, with --max-batch, --max-tokens, --max-frames"

    def __init__(self, name: str, manifest: Manifest, engines: LoadedEngines) -> None:
        super().__init__(name, manifest.graphs[name], manifest, engines.stream)
        self._engines = engines

    def prepare_all(self) -> None:
        """Capture what requests run, so that none of them waits for that."""
        most = self.manifest.range("F").max
        if self.name == "encoder":
            for tokens in self.manifest.synthesis.token_buckets(self.manifest.range("T").max):
                self.prepare(token_ids=np.zeros((1, tokens), np.int32), token_lengths=np.array([tokens], np.int32))
        elif self.name == "postnet":
            self.window_sizes = tuple(doubling(SMALLEST_MEL, most))
        elif self.name == self.manifest.vocoder.kind:
            largest = min(most, self.manifest.vocoder_input_frames)
            self.window_sizes = vocoder_window_sizes(self.manifest, largest, largest // 4, largest // 2, largest)
        for frames in self.window_sizes:
            shapes = {tensor.name: tensor.resolve({"B": 1, "F": frames}) for tensor in self.spec.inputs}
            self.prepare(**{tensor.name: np.zeros(shapes[tensor.name], tensor.dtype) for tensor in self.spec.inputs})

    def new_context(self) -> TensorRTContext:
        return self._engines.new_context(self.name)


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
