"""The backends that run a bundle's graphs, and the choice between them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..errors import BackendError
from ..manifest import Manifest
from .base import Backend, BackendOptions

# Name -> module and class, in the order in which "auto" tries them.
BACKENDS = {
    "tensorrt": (".tensorrt.backend", "TensorRTBackend"),
    "tensorrt-rtx": (".tensorrt.backend", "TensorRTRTXBackend"),
    "onnxruntime-cuda": (".cuda.onnxruntime", "OnnxRuntimeCudaBackend"),
    "onnxruntime": (".onnxruntime", "OnnxRuntimeBackend"),
    "torchscript": (".torchscript", "TorchScriptBackend"),
}


def backend_class(name: str) -> type[Backend]:
    """Return the backend of that name; its module is imported here. Raises BackendError for an unknown name."""
    if name not in BACKENDS:
        raise BackendError(f"backend {name!r}: unknown; choose from auto, {', '.join(BACKENDS)}")
    module, class_name = BACKENDS[name]
    backend: type[Backend] = getattr(import_module(module, __package__), class_name)
    return backend


def open_backend(name: str, bundle: Path, manifest: Manifest, options: BackendOptions) -> Backend:
    """Open the backend of that name, or for "auto" the first available one; `.choice` explains the choice in one line.

    Raises BackendError if the name is unknown or the backend is not available on this machine.
    """
    reasons: dict[str, list[str]] = {}  # reason -> backends
    for candidate in [name] if name != "auto" else BACKENDS:
        kind = backend_class(candidate)
        reason = kind.unavailable_reason()
        if reason is None:
            backend = kind(bundle, manifest, options)
            why = "selected" if name != "auto" else "; ".join(["first available", *_format_reasons(reasons)])
            backend.choice = f"{candidate} ({backend.device}): {why}"
            return backend
        reasons.setdefault(reason, []).append(candidate)
    raise BackendError(f"backend {name!r}: " + "; ".join(_format_reasons(reasons)))


def _format_reasons(reasons: dict[str, list[str]]) -> list[str]:
    return [f"{', '.join(names)} not available: {reason}" for reason, names in reasons.items()]
