"""TensorRT 8.5 to 11 and TensorRT-RTX, found and asked what they can do.

What differs between them is asked for by name (`hasattr`, members of enums): a version number alone decides nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..errors import BackendError

# Backend name -> the module that it needs, and the command that brings it.
MODULES = {
    "tensorrt": ("tensorrt", "pip install 'tacoglow[gpu]'"),
    "tensorrt-rtx": ("tensorrt_rtx", "pip install tensorrt-rtx-cu13"),
}
# Tactics that call other libraries -> names under which these are looked for.
TACTIC_LIBRARIES = {
    "CUBLAS": ("libcublas.so.12", "libcublas.so.11"),
    "CUBLAS_LT": ("libcublasLt.so.12", "libcublasLt.so.11"),
    "CUDNN": ("libcudnn.so.8",),
}


@dataclass(frozen=True)
class TensorRT:
    """One of the modules above, imported."""

    name: str  # tensorrt or tensorrt-rtx
    module: ModuleType

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def builds_ahead_of_time(self) -> bool:
        """Whether it builds for a GPU that need not be there (TensorRT-RTX)."""
        return hasattr(self.module.IBuilderConfig, "set_compute_capability")

    def builds_for(self, capability: tuple[int, int]) -> bool:
        """Whether it can build ahead of time for GPUs of this compute capability."""
        return self.member("ComputeCapability", "SM{}{}".format(*capability)) is not None

    @property
    def strongly_typed(self) -> bool:
        """Whether a network's own types are binding; where they are not, precision is asked for layer by layer."""
        return self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None

    @property
    def shares_profiles(self) -> bool:
        """Whether the contexts of an engine may all use its profile; before TensorRT 8.6 each needs one of its own."""
        is_asked_for = self.member("PreviewFeature", "PROFILE_SHARING_0806") is not None  # 8.6 to 10
        return is_asked_for or self.member("ExecutionContextAllocationStrategy", "USER_MANAGED") is not None  # from 10

    def member(self, enum: str, name: str) -> Any:
        """The member of an enum of the module, None where this version has no such member or no such enum."""
        return getattr(getattr(self.module, enum, None), name, None)

    def logger(self) -> Any:
        """A TensorRT logger that keeps what it is told, in `.errors` and `.warnings`, instead of printing it."""
        severity = self.module.ILogger.Severity

        class KeepingLogger(self.module.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.errors: list[str] = []
                self.warnings: list[str] = []

            def log(self, level: Any, message: str) -> None:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    self.errors.append(message)
                elif level == severity.WARNING:
                    self.warnings.append(message)

        return KeepingLogger()

    def absent_tactic_sources(self) -> int:
        """Bits of the tactic sources whose libraries are not installed; a build with them would fail."""
        bits = 0
        for source, libraries in TACTIC_LIBRARIES.items():
            member = self.member("TacticSource", source)
            if member is not None and not any(_loads(library) for library in libraries):
                bits |= 1 << int(member)
        return bits


def missing_tensorrt(name: str) -> str | None:
    """Why TensorRT of that backend name cannot be imported, with the command that mends it; None if it is there."""
    module, command = MODULES[name]
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed ({command})"
    return None


def load_tensorrt(name: str) -> TensorRT:
    """Import TensorRT by backend name, or for "auto" the first that is installed. Raises BackendError."""
    if name == "auto":
        name = next((candidate for candidate in MODULES if missing_tensorrt(candidate) is None), "tensorrt")
    if name not in MODULES:
        raise BackendError(f"builder {name!r}: unknown; choose from auto, {', '.join(MODULES)}")
    missing = missing_tensorrt(name)
    if missing is not None:
        raise BackendError(missing)
    try:
        return TensorRT(name, importlib.import_module(MODULES[name][0]))
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"{MODULES[name][0]} is installed and cannot be imported: {error}") from error


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
