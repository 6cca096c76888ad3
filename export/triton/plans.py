"""The TensorRT plans that the plain graph models serve: those of the bundle's engines for the GPU that is here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...runtime.device.cuda import find_gpu
from ...runtime.engines.display import TerminalDisplay
from ...runtime.engines.provide import Request, provide_engines, target_of
from ...runtime.engines.tensorrt import load_tensorrt
from ...runtime.manifest import load_manifest


def find_plans(bundle: Path, graphs: Sequence[str], device: int) -> dict[str, tuple[Path, int]]:
    """Graph -> the file of its plan and the largest batch that it takes; engines that are missing are built.

    Raises BackendError where there is no GPU or no TensorRT.
    """
    gpu, tensorrt = find_gpu(device), load_tensorrt("tensorrt")
    request = Request(target_of(gpu, tensorrt), graphs=graphs)
    engines = provide_engines(bundle, load_manifest(bundle), tensorrt, request, TerminalDisplay())
    return {graph: (engine.path, engine.recipe.profile["B"].max) for graph, engine in engines.items()}
