"""Loads the pipelines that can run on this machine, and measures the memory that each takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.backends import BACKENDS, backend_class
from ..runtime.backends.base import Compute
from ..runtime.bundle.reading import load_manifest
from .conditions import memory_used
from .pipelines import REFERENCE, BundlePipeline, Pipeline

if TYPE_CHECKING:
    from .voices import Models

Loader = tuple[str, Callable[[], Pipeline]]  # a description for progress messages, and the function that loads


def load_pipelines(
    loaders: Iterable[Loader], gpu: int | None, progress: Callable[[str], None]
) -> tuple[list[Pipeline], dict[tuple[str, str], int]]:
    """Return the pipelines, and for each (name, precision) the bytes that loading it added to the memory in use.

    gpu: index of the GPU of PyTorch, None without one.
    """
    pipelines: list[Pipeline] = []
    memory: dict[tuple[str, str], int] = {}
    for description, load_pipeline in loaders:
        progress(f"loading {description}")
        before = memory_used(gpu)
        pipeline = load_pipeline()
        pipelines.append(pipeline)
        memory[pipeline.name, pipeline.precision] = memory_used(gpu) - before
    return pipelines, memory


def find_loaders(
    bundles: Sequence[Path],
    models: Models | None,
    backends: Sequence[str] | None,
    device: int,
    gpu: int | None,
    threads: int,
    cpu_peers: bool,
    torch_compile: bool,
) -> Iterator[Loader]:
    """Yield the pipelines to compare.

    Those of the PyTorch modules come first, if models are given, and the reference is the first of them.
    backends: None for all that can run a bundle. device: index of the GPU of bundles. gpu: index of the GPU of PyTorch,
    None without one. cpu_peers: time PyTorch on the CPU although there is a GPU.
    torch_compile: time torch.compile on the CPU too.
    """
    if models is not None:
        yield from _pytorch_loaders(models, gpu, cpu_peers, torch_compile)
    for bundle in bundles:
        for backend in backends or available_backends(bundle):
            for compute in computes(bundle, backend):
                load = partial(BundlePipeline, bundle, backend, device, threads, compute)
                yield f"tacoglow {backend}, {compute}, {bundle}", load


def available_backends(bundle: Path) -> list[str]:
    """Names of the backends that can run this bundle on this machine."""
    has_modules = load_manifest(bundle).torchscript is not None
    return [
        name
        for name in BACKENDS
        if backend_class(name).unavailable_reason() is None and (name != "torchscript" or has_modules)
    ]


def computes(bundle: Path, backend: str) -> list[Compute]:
    """What the backend can compute the bundle with: fp32, and auto if that is something else."""
    rounds = backend == "openvino" or load_manifest(bundle).int8_decoder is not None
    return ["fp32", "auto"] if rounds and backend_class(backend).has_int8_decoder else ["fp32"]


def _pytorch_loaders(models: Models, gpu: int | None, cpu_peers: bool, torch_compile: bool) -> Iterator[Loader]:
    from .pytorch import GPU_MODES, ROUNDED, PyTorchPipeline

    on_cpu = gpu is None or cpu_peers
    yield REFERENCE, partial(PyTorchPipeline, models, is_timed=on_cpu)
    if on_cpu:
        for mode in ("TorchScript", *ROUNDED):
            yield f"PyTorch {mode}", partial(PyTorchPipeline, models, mode)
        if torch_compile:
            yield "PyTorch torch.compile", partial(PyTorchPipeline, models, "torch.compile")
    if gpu is not None:
        for precision in ("fp32", "tf32", "fp16"):
            for mode in GPU_MODES:
                load = partial(PyTorchPipeline, models, mode, f"cuda:{gpu}", precision)
                yield f"PyTorch {mode}, {precision}, GPU", load
