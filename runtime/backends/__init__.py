"""The backends that run a bundle's graphs, and the choice between them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..bundle.manifest import Manifest
from ..errors import BackendError, BundleError, one_line
from .base import Backend, BackendOptions
from .cuda.driver import find_driver

# Name -> module and class, in the order in which "auto" tries them.
BACKENDS = {
    "tensorrt": (".tensorrt.backend", "TensorRTBackend"),
    "tensorrt-rtx": (".tensorrt.backend", "TensorRTRTXBackend"),
    "onnxruntime-cuda": (".cuda.onnxruntime", "OnnxRuntimeCudaBackend"),
    "onnxruntime": (".onnxruntime", "OnnxRuntimeBackend"),
    "openvino": (".openvino", "OpenVinoBackend"),
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

    With "auto", a GPU backend that fails to open is passed over, and `.choice` says why.
    Raises BackendError if the name is unknown or the backend is not available on this machine.
    """
    if name != "auto":
        reason = backend_class(name).unavailable_reason(options.device)
        if reason is not None:
            raise BackendError(f"backend {name!r}: {name} not available: {reason}")
        backend = backend_class(name)(bundle, manifest, options)
        backend.choice = f"{name} ({backend.device}): selected"
        return backend
    reasons: dict[str, list[str]] = {}  # reason -> backends
    for candidate in BACKENDS:
        opened = _try_to_open(backend_class(candidate), bundle, manifest, options)
        if isinstance(opened, Backend):
            why = "; ".join(["first available", *_format_reasons(reasons)])
            driver = find_driver()
            if not opened.runs_asynchronously and driver is not None and driver.gpus:
                why += "; this machine has a GPU: see tacoglow doctor"
            opened.choice = f"{candidate} ({opened.device}): {why}"
            return opened
        reasons.setdefault(opened, []).append(candidate)
    raise BackendError(f"backend {name!r}: " + "; ".join(_format_reasons(reasons)))


def _try_to_open(kind: type[Backend], bundle: Path, manifest: Manifest, options: BackendOptions) -> Backend | str:
    """Open the backend and the graphs that every request needs; return it, or why it cannot be used."""
    reason = kind.unavailable_reason(options.device)
    if reason is not None:
        return reason
    try:
        backend = kind(bundle, manifest, options)
        for graph in manifest.always_used:
            backend.open(graph)
    except BundleError:
        raise
    except Exception as error:  # drivers and engines raise classes of their own
        if not kind.runs_asynchronously or (options.decoder == "fused" and kind.has_fused_decoder):
            raise  # there is nothing to fall back to
        return one_line(error)
    return backend


def _format_reasons(reasons: dict[str, list[str]]) -> list[str]:
    return [f"{', '.join(names)} not available: {reason}" for reason, names in reasons.items()]
