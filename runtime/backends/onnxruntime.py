"""Runs graphs on ONNX Runtime's CPU provider, over NumPy arrays that are bound by address and never copied."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.manifest import GraphSpec, Manifest
from ..bundle.reading import graph_path
from ..errors import BackendError, BundleError, is_out_of_memory
from .base import Array, Backend, BackendOptions, Call, GraphRunner
from .bfloat16 import widen_to_float32

# The format that bundles are checked for. ONNX Runtime would also take its own, by a file's name or content.
ONNX_ONLY = ("session.load_model_format", "ONNX")
ONNX_TYPES = {"float32": "tensor(float)", "int32": "tensor(int32)", "bool": "tensor(bool)"}


def import_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off, unless ORT_DISABLE_TELEMETRY says otherwise.

    Since 1.29 it keeps an id and a database in the user's cache and looks for a server. Only the variable, set before
    the library initializes, prevents all of that.
    """
    wanted = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if wanted != "0":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxRuntimeBackend(Backend):
    name = "onnxruntime"
    device = "CPU"
    has_int8_decoder = True

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        super().__init__(bundle, manifest, options)
        self.threads = options.threads or _usable_cores()

    @staticmethod
    def unavailable_reason(device: int = 0) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed (pip install 'tacoglow[cpu]')"
        return None

    def _open(self, graph: str) -> GraphRunner:
        onnxruntime = import_onnxruntime()
        spec = self.manifest.graphs[graph]
        int8 = self.manifest.int8_decoder if graph == "decoder_step" and self.options.compute != "fp32" else None
        path = graph_path(self.bundle, graph, int8 or spec)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        # A pattern is one block for all activations of a shape; blocks for many shapes would fragment the arena.
        options.enable_mem_pattern = False
        # Each session has threads of its own. Those that spin after a run keep the next session's from the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry(*ONNX_ONLY)
        with explained_failures(str(path), "cannot load it"):
            model: str | bytes = widen_to_float32(path) if self.manifest.precision == "bf16" else str(path)
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return OnnxRuntimeGraph(graph, spec, self.manifest, session)


class OnnxRuntimeGraph(GraphRunner):
    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, session: Any) -> None:
        super().__init__(name, spec, manifest)
        self._session = session
        check_tensors(name, spec, session)

    def _bind(self, buffers: Mapping[str, Array]) -> Call:
        binding = self._session.io_binding()
        for tensors, bind in ((self.spec.inputs, binding.bind_input), (self.spec.outputs, binding.bind_output)):
            for tensor in tensors:
                array = buffers[tensor.name]
                bind(tensor.name, "cpu", 0, np.dtype(tensor.dtype), array.shape, array.ctypes.data)
        session, name = self._session, self.name

        # The binding stores only addresses; the default argument keeps the arrays alive as long as the call.
        def call(_keep_alive: Mapping[str, Array] = buffers) -> None:
            with explained_failures(name):
                session.run_with_iobinding(binding)

        return call


def check_tensors(name: str, spec: GraphSpec, session: Any) -> None:
    """Compare the names, dtypes and shapes of a session's inputs and outputs with the manifest. Raises BundleError."""
    for side, specs, values in (
        ("input", spec.inputs, session.get_inputs()),
        ("output", spec.outputs, session.get_outputs()),
    ):
        stated = {tensor.name: f"{ONNX_TYPES[tensor.dtype]} {list(tensor.shape)}" for tensor in specs}
        found = {value.name: f"{value.type} {value.shape}" for value in values}
        differing = sorted(key for key in found.keys() | stated.keys() if found.get(key) != stated.get(key))
        if differing:
            raise BundleError(
                f"{name}: {side} {differing[0]} is {stated.get(differing[0], 'absent')} in the manifest, "
                f"{found.get(differing[0], 'absent')} in the graph; export the voice again"
            )


@contextmanager
def explained_failures(name: str, problem: str = "failed") -> Iterator[None]:
    """Turn ONNX Runtime's errors into BackendError, or MemoryError. name: of the graph or its file."""
    try:
        yield
    except BackendError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        line = f"{name}: ONNX Runtime {problem}: {first_line(error)}"
        if is_out_of_memory(error):
            raise MemoryError(line) from error
        raise BackendError(f"{line}; export the voice again") from error


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _usable_cores() -> int:
    """Count the cores that this process may use, in a container fewer than the machine has; 0: ONNX Runtime decides."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
