"""The engines of a bundle: those that the cache holds, and the others built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ..device.cuda import Gpu
from ..manifest import GRAPH_NAMES, Manifest, graph_path
from .builder import EngineBuilder, Progress
from .cache import FOLDER, Engine, EngineCache
from .recipe import ANY_GPU, BuildOptions, ProfileLimits, Recipe, Target, make_recipe, serves
from .tensorrt import TensorRT


class Display(Protocol):
    """Where builds are shown while they run."""

    def building(self, graph: str) -> AbstractContextManager[Progress]: ...

    def say(self, line: str) -> None: ...


@dataclass(frozen=True)
class Request:
    target: Target
    limits: ProfileLimits = field(default_factory=ProfileLimits)
    options: BuildOptions = field(default_factory=BuildOptions)
    folder: Path | None = None  # of the engines; BUNDLE/engines if None
    graphs: Sequence[str] = GRAPH_NAMES
    # Whether an engine has to be made by just this recipe. Else any that runs on the target's GPU will do.
    exactly: bool = False


def target_of(gpu: Gpu, tensorrt: TensorRT) -> Target:
    """What to build for a GPU: a model of GPU, except where engines are finished on the GPU that they run on."""
    name = ANY_GPU if tensorrt.builds_ahead_of_time else gpu.name
    return Target(gpu=name, compute_capability=gpu.compute_capability)


def provide_engines(
    bundle: Path, manifest: Manifest, tensorrt: TensorRT, request: Request, display: Display
) -> dict[str, Engine]:
    """An engine for each of the graphs, built where there is none. Raises BundleError, RequestError or BackendError."""
    return _Provider(bundle, manifest, tensorrt, request, display).engines()


class _Provider:
    def __init__(
        self, bundle: Path, manifest: Manifest, tensorrt: TensorRT, request: Request, display: Display
    ) -> None:
        self.bundle, self.manifest, self.tensorrt = bundle, manifest, tensorrt
        self.request, self.display = request, display
        self.cache = EngineCache(request.folder or bundle / FOLDER)

    def engines(self) -> dict[str, Engine]:
        return {graph: self._engine(graph) for graph in self.request.graphs}

    def _engine(self, graph: str) -> Engine:
        request = self.request
        recipe = make_recipe(
            self.manifest,
            graph,
            (self.tensorrt.name, self.tensorrt.version),
            request.target,
            request.limits,
            request.options,
        )
        return self.cache.find_or_build(
            recipe,
            self._accepts(recipe),
            lambda: self._build(recipe),
            lambda: self.display.say(f"{graph}: another process is building engines in {self.cache.folder}; waiting"),
        )

    def _accepts(self, wanted: Recipe) -> Callable[[Recipe], bool]:
        return (lambda recipe: recipe == wanted) if self.request.exactly else (lambda recipe: serves(recipe, wanted))

    def _build(self, recipe: Recipe) -> bytes:
        spec = self.manifest.graphs[recipe.graph]
        onnx = graph_path(self.bundle, recipe.graph, spec)
        timings = f"timings-{recipe.tensorrt}-{recipe.tensorrt_version}-{recipe.target.gpu or 'any'}.cache"
        timing_cache = self.cache.folder / timings.replace(" ", "-").replace("/", "-")
        with self.display.building(recipe.graph) as progress:
            return self._builder.build(onnx, spec, recipe, timing_cache, progress)

    @cached_property
    def _builder(self) -> EngineBuilder:
        return EngineBuilder(self.tensorrt)
