"""The engines that can run a bundle's graphs, and the choice between them."""

from __future__ import annotations

from pathlib import Path

from ..errors import BackendError
from ..manifest import Manifest
from .base import Backend, BackendOptions
from .onnxruntime import OnnxRuntimeBackend
from .onnxruntime_cuda import OnnxRuntimeCudaBackend
from .tensorrt import TensorRTBackend, TensorRTRTXBackend
from .torchscript import TorchScriptBackend

# In the order in which "auto" tries them.
BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend
    for backend in (
        TensorRTBackend,
        TensorRTRTXBackend,
        OnnxRuntimeCudaBackend,
        OnnxRuntimeBackend,
        TorchScriptBackend,
    )
}


def open_backend(name: str, bundle: Path, manifest: Manifest, options: BackendOptions) -> Backend:
    """The backend of that name, or for "auto" the first that can run here; `.choice` says in a line why.

    Raises BackendError when the name is unknown or the backend cannot run on this machine.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f"backend {name!r}: unknown; choose from auto, {', '.join(BACKENDS)}")
    refusals: dict[str, list[str]] = {}  # reason -> backends
    for candidate in [name] if name != "auto" else BACKENDS:
        missing = BACKENDS[candidate].missing()
        if missing is None:
            backend = BACKENDS[candidate](bundle, manifest, options)
            why = "asked for" if name != "auto" else "; ".join(["the first that can run here", *_told(refusals)])
            backend.choice = f"{candidate} ({backend.device}): {why}"
            return backend
        refusals.setdefault(missing, []).append(candidate)
    raise BackendError(f"backend {name!r}: " + "; ".join(_told(refusals)))


def _told(refusals: dict[str, list[str]]) -> list[str]:
    return [f"{', '.join(names)} cannot: {reason}" for reason, names in refusals.items()]
