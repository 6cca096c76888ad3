"""TensorRT 8.5 to 11 and TensorRT-RTX: the installed module, and the differences between versions.

Features are detected by attribute (`hasattr`, enum members), not by version number.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ...bundle.manifest import Precision
from ...errors import BackendError
from ..cuda.driver import install_command

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # backend name -> the module that it needs
# Tactic source -> file names of the library that it calls.
TACTIC_LIBRARIES = {
    "CUBLAS": ("libcublas.so.12", "libcublas.so.11"),
    "CUBLAS_LT": ("libcublasLt.so.12", "libcublasLt.so.11"),
    "CUDNN": ("libcudnn.so.8",),
}
# Layers that compute. The other layers move data and keep its type.
COMPUTING_LAYERS = (
    "ACTIVATION",
    "CONVOLUTION",
    "DECONVOLUTION",
    "ELEMENTWISE",
    "FULLY_CONNECTED",
    "MATRIX_MULTIPLY",
    "REDUCE",
    "SCALE",
    "SELECT",
    "SOFTMAX",
    "UNARY",
)
# Layers whose output type does not follow their inputs. An ONNX Cast is an identity layer before TensorRT 8.6.
CONVERTING_LAYERS = ("CAST", "CONSTANT", "IDENTITY")


@dataclass(frozen=True)
class TensorRT:
    """An imported TensorRT module."""

    name: str  # tensorrt or tensorrt-rtx
    module: ModuleType

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def builds_ahead_of_time(self) -> bool:
        """True if this TensorRT builds engines without a GPU (TensorRT-RTX)."""
        return hasattr(self.module.IBuilderConfig, "set_compute_capability")

    def builds_for(self, capability: tuple[int, int]) -> bool:
        """True if this TensorRT can build ahead of time for this compute capability."""
        return self.member("ComputeCapability", "SM{}{}".format(*capability)) is not None

    @property
    def strongly_typed(self) -> bool:
        """True if networks are strongly typed; if not, precision is set layer by layer."""
        return self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None

    @property
    def shares_profiles(self) -> bool:
        """True if the contexts of an engine can share its one profile; before TensorRT 8.6 they cannot."""
        opt_in = self.member("PreviewFeature", "PROFILE_SHARING_0806") is not None  # 8.6 to 10
        return opt_in or self.member("ExecutionContextAllocationStrategy", "USER_MANAGED") is not None  # from 10

    def request_shared_profiles(self, config: Any) -> None:
        """Let execution contexts share a profile, which TensorRT 8.6 to 9 do only on request."""
        sharing = self.member("PreviewFeature", "PROFILE_SHARING_0806")
        if sharing is not None:
            config.set_preview_feature(sharing, True)

    def member(self, enum: str, name: str) -> Any:
        """Return the member of one of the module's enums; None if this version lacks the member or the enum."""
        return getattr(getattr(self.module, enum, None), name, None)

    def logger(self) -> Any:
        """Create a TensorRT logger that records errors in `.errors` and drops all other messages."""
        severity = self.module.ILogger.Severity

        class RecordingLogger(self.module.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.errors: list[str] = []

            def log(self, level: Any, message: str) -> None:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    self.errors.append(message)

            def summary(self) -> str:
                """Take the errors, so that the next summary has later ones only."""
                errors, self.errors = self.errors, []
                return "; ".join(errors) or "no error was logged"

        return RecordingLogger()

    def absent_tactic_sources(self) -> int:
        """Bit mask of the tactic sources whose libraries are not installed; building with them would fail."""
        bits = 0
        for source, libraries in TACTIC_LIBRARIES.items():
            member = self.member("TacticSource", source)
            if member is not None and not any(_loads(library) for library in libraries):
                bits |= 1 << int(member)
        return bits


def tensorrt_unavailable_reason(name: str) -> str | None:
    """Return why the backend's module cannot be imported, and the command that installs it; None if it can."""
    if importlib.util.find_spec(MODULES[name]) is not None:
        return None
    return f"{MODULES[name]} is not installed ({_install_command(name)})"


def load_tensorrt(name: str) -> TensorRT:
    """Import TensorRT by backend name, or for "auto" the first installed one. Raises BackendError."""
    if name == "auto":
        name = next((candidate for candidate in MODULES if tensorrt_unavailable_reason(candidate) is None), "tensorrt")
    if name not in MODULES:
        raise BackendError(f"builder {name!r}: unknown; choose from auto, {', '.join(MODULES)}")
    reason = tensorrt_unavailable_reason(name)
    if reason is not None:
        raise BackendError(reason)
    try:
        return TensorRT(name, importlib.import_module(MODULES[name]))
    except (ImportError, OSError, RuntimeError) as error:
        command = _install_command(name)
        raise BackendError(
            f"{MODULES[name]} is installed but cannot be imported: {error}; install it again: {command}"
        ) from error


def _install_command(name: str) -> str:
    return install_command() if name == "tensorrt" else "pip install tensorrt-rtx-cu13"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def set_layer_precisions(tensorrt: TensorRT, network: Any, config: Any, precision: Precision) -> None:
    """Set the precision of every computing layer, for TensorRT 8.5 to 9, whose networks are not strongly typed."""
    if precision == "fp32":
        return
    flag = tensorrt.module.BuilderFlag
    config.set_flag(getattr(flag, precision.upper()))
    config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
    kinds = {tensorrt.member("LayerType", name) for name in COMPUTING_LAYERS} - {None}
    for layer, dtype in float_layers(tensorrt, network):
        if layer.type in kinds:
            layer.precision = dtype
            layer.set_output_type(0, dtype)


def float_layers(tensorrt: TensorRT, network: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the layers with a floating-point output, each with the type that strong typing would give it.

    Types are propagated from the network's inputs, constants and casts, because these versions may report any
    floating-point tensor as float32 before the build.
    """
    names = ("FLOAT", "HALF", "BF16")
    floats = [dtype for name in names if (dtype := tensorrt.member("DataType", name)) is not None]
    converting = {tensorrt.member("LayerType", name) for name in CONVERTING_LAYERS} - {None}
    known: dict[str, Any] = {}
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        if not layer.num_outputs:
            continue  # assertion layers have none
        dtype = _own_type(layer)
        if layer.type not in converting and dtype in floats:
            inputs = [tensor for i in range(layer.num_inputs) if (tensor := layer.get_input(i)) is not None]
            types = [known.get(tensor.name, tensor.dtype) for tensor in inputs]
            dtype = next((one for one in types if one in floats), dtype)
        known |= {layer.get_output(i).name: dtype for i in range(layer.num_outputs)}
        if dtype in floats:
            yield layer, dtype


def _own_type(layer: Any) -> Any:
    return layer.get_output_type(0) if layer.output_type_is_set(0) else layer.get_output(0).dtype
