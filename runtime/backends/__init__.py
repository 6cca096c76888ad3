"""The engines that can run a bundle's graphs, and the choice between them."""

from __future__ import annotations

from pathlib import Path

from ..errors import BackendError
from ..manifest import Manifest
from .base import Backend, BackendOptions
from .onnxruntime import OnnxRuntimeBackend
from .torchscript import TorchScriptBackend

BACKENDS: dict[str, type[Backend]] = {backend.name: backend for backend in (OnnxRuntimeBackend, TorchScriptBackend)}


def open_backend(name: str, bundle: Path, manifest: Manifest, options: BackendOptions) -> Backend:
    """The backend of that name, or for "auto" the first that can run here; `.choice` says in a line why.

    Raises BackendError when the name is unknown or the backend cannot run on this machine.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f"backend {name!r}: unknown; choose from auto, {', '.join(BACKENDS)}")
    refusals: list[str] = []
    for candidate in [name] if name != "auto" else BACKENDS:
        missing = BACKENDS[candidate].missing()
        if missing is None:
            backend = BACKENDS[candidate](bundle, manifest, options)
            why = "asked for" if name != "auto" else "; ".join(["the first that can run here", *refusals])
            backend.choice = f"{candidate} ({backend.device}): {why}"
            return backend
        refusals.append(f"{candidate} cannot: {missing}")
    raise BackendError(f"backend {name!r}: " + "; ".join(refusals))
