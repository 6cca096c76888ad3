"""Runs TorchScript modules on the CPU, for machines that have PyTorch and no other backend."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bundle.manifest import GraphSpec, Manifest
from ..bundle.reading import graph_path
from ..errors import BackendError, BundleError
from .base import Array, Backend, BackendOptions, Call, GraphRunner


class TorchScriptBackend(Backend):
    name = "torchscript"
    device = "CPU"

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        import torch

        if manifest.torchscript is None:
            raise BundleError(
                f"{bundle}: contains no TorchScript modules; add them with: tacoglow export-torchscript {bundle}"
            )
        if options.threads is not None:
            torch.set_num_threads(options.threads)  # for the whole process: PyTorch has one thread pool
        super().__init__(bundle, manifest, options)
        self._files = manifest.torchscript.graphs

    @staticmethod
    def unavailable_reason(device: int = 0) -> str | None:
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed (pip install torch)"
        return None

    def _open(self, graph: str) -> GraphRunner:
        import torch

        path = graph_path(self.bundle, graph, self._files[graph])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch deprecates TorchScript
                module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise BackendError(
                f"{path}: PyTorch {torch.__version__} cannot load it: {str(error).splitlines()[0]}; "
                "run export-torchscript again"
            ) from error
        return TorchScriptGraph(graph, self.manifest.graphs[graph], self.manifest, module)


class TorchScriptGraph(GraphRunner):
    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, module: Any) -> None:
        super().__init__(name, spec, manifest)
        self._module = module

    def _bind(self, buffers: Mapping[str, Array]) -> Call:
        """Share the arrays' memory with tensors; the module's results are copied into the output buffers."""
        import torch

        inputs = [torch.from_numpy(buffers[tensor.name]) for tensor in self.spec.inputs]
        targets = [torch.from_numpy(buffers[tensor.name]) for tensor in self.spec.outputs]
        module, name = self._module, self.name

        def call() -> None:
            try:
                # The executor's optimizer is off because it compiles again for every new shape.
                with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                    results = module(*inputs)
                for target, result in zip(targets, results if len(targets) > 1 else (results,), strict=True):
                    target.copy_(result)
            except (RuntimeError, ValueError, TypeError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise BackendError(f"{name}: PyTorch failed: {reason}; run export-torchscript again") from error

        return call
