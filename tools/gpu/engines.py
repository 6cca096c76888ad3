"""The step that builds engines: those that later steps run, graph by graph, with what the builder made of each."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from ...runtime.backends.cuda.device import find_gpu
from ...runtime.backends.tensorrt.builder import EngineBuilder
from ...runtime.backends.tensorrt.cache import Engine, EngineCache, target_of
from ...runtime.backends.tensorrt.engine_key import BuildOptions, EngineKey, ProfileLimits, make_engine_key
from ...runtime.backends.tensorrt.versions import TensorRT, load_tensorrt
from ...runtime.bundle.manifest import GraphSpec
from ...runtime.bundle.reading import graph_path, load_manifest
from .figures import Context, Figures

OPTIMIZATION_LEVEL = 1  # builds in seconds


class DetailedBuilder(EngineBuilder):
    """Has engines keep their layers' precisions, which a plan has not by default."""

    def _config(self, spec: GraphSpec, engine_key: EngineKey) -> Any:
        config = super()._config(spec, engine_key)
        config.profiling_verbosity = self.tensorrt.module.ProfilingVerbosity.DETAILED
        return config


def engines(context: Context, figures: Figures) -> None:
    """Build the vocoder's engine, or all others, and count their layers."""
    vocoder = load_manifest(context.bundle).vocoder.kind
    # The encoder's loop is what TensorRT 8.6 knows least about.
    build(context, figures, [vocoder] if context.with_vocoder else ["decoder_step", "postnet", "encoder", "denoiser"])


def build(context: Context, figures: Figures, graphs: Sequence[str]) -> None:
    """Build engines into the day's engine cache, with one builder, which takes ten seconds to create."""
    tensorrt, manifest, sizes = load_tensorrt("tensorrt"), load_manifest(context.bundle), context.sizes
    figures["tensorrt"] = tensorrt.version
    limits = ProfileLimits(max_batch=max(sizes.batches), max_tokens=sizes.tokens, max_frames=sizes.frames)
    options = BuildOptions(optimization_level=OPTIMIZATION_LEVEL)
    target = target_of(find_gpu(0), tensorrt)
    begin = time.perf_counter()
    builder = DetailedBuilder(tensorrt)
    figures["new_builder_seconds"] = round(time.perf_counter() - begin, 1)
    for graph in graphs:
        begin, spec = time.perf_counter(), manifest.graphs[graph]
        key = make_engine_key(manifest, graph, (tensorrt.name, tensorrt.version), target, limits, options)
        new_plan = partial(
            builder.build,
            graph_path(context.bundle, graph, spec),
            spec,
            key,
            context.out / "timings.cache",
            lambda *_: None,
        )
        engine = EngineCache().find_or_build(key, partial(operator.eq, key), new_plan)
        seconds = round(time.perf_counter() - begin, 1)
        figures[graph] = {"seconds": seconds, "megabytes": round(len(engine.plan) / 1e6, 1)}
        figures[f"{graph}_layers"] = count_layers(tensorrt, engine)


def count_layers(tensorrt: TensorRT, engine: Engine) -> dict[str, int]:
    """Count an engine's layers, and those that compute or store something in half precision."""
    runtime = tensorrt.module.Runtime(tensorrt.logger())
    inspector = runtime.deserialize_cuda_engine(engine.plan).create_engine_inspector()
    layers = json.loads(inspector.get_engine_information(tensorrt.module.LayerInformationFormat.JSON))["Layers"]
    half = sum("Half" in json.dumps(layer) or "FP16" in json.dumps(layer) for layer in layers)
    return {"layers": len(layers), "half": half}
