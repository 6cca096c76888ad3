"""Runs the vocoder on OpenVINO and the other graphs on ONNX Runtime, which is faster for one decoder step at a time.

On processors that multiply bfloat16, the vocoder's products are bfloat16 unless float32 is asked for: two times as fast
or more. On others it runs on ONNX Runtime too, unless float32 is asked for. OpenVINO compiles kernels for every number
of frames, which takes up to five seconds, so the vocoder runs at few fixed ones, all compiled when the voice is opened.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from ..bundle.manifest import GraphSpec, Manifest
from ..bundle.reading import graph_path
from ..errors import BackendError, BundleError
from .base import Array, BackendOptions, Call, GraphRunner, usable_cores, vocoder_window_sizes
from .onnxruntime import OnnxRuntimeBackend, first_line

# Frames of a window beside a stream's, and new frames of the largest one, which holds the receptive field too. More
# sizes would pad less, and cost HiFi-GAN V1 20 ms and 0.8 MB per frame when a voice is opened.
WINDOW_FRAMES = 160
# In float32 OpenVINO is up to a fifth slower than ONNX Runtime, with HiFi-GAN V3.
WITHOUT_KERNELS = "float32, on ONNX Runtime, because this processor does not multiply bfloat16"


def import_openvino() -> Any:
    """OpenVINO, without its telemetry: to import it would write an id into the home folder and report the import.

    It takes a module of telemetry that is missing for the user's wish; it knows no other that works for one process.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def multiplies_bfloat16(core: Any) -> bool:
    """True if OpenVINO has kernels for the processor's own bfloat16 products."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()  # of its kernels, which its capabilities leave out
    is_limited = limit not in ("", "ALL", "DEFAULT") and not any(name in limit for name in ("BF16", "FP16", "AMX"))
    return not is_limited and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend(OnnxRuntimeBackend):
    name = "openvino"

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        super().__init__(bundle, manifest, options)
        self._core = import_openvino().Core()
        self._precision = "f32" if options.compute == "fp32" else "bf16"
        self._has_kernels = options.compute == "fp32" or multiplies_bfloat16(self._core)
        self.vocoder = "float32" if options.compute == "fp32" else "bfloat16" if self._has_kernels else WITHOUT_KERNELS

    @staticmethod
    def unavailable_reason(device: int = 0) -> str | None:
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed (pip install 'tacoglow[openvino]')"
        return OnnxRuntimeBackend.unavailable_reason()

    def _open(self, graph: str) -> GraphRunner:
        if graph != self.manifest.vocoder.kind or not self._has_kernels:
            return super()._open(graph)
        spec = self.manifest.graphs[graph]
        path = graph_path(self.bundle, graph, spec)
        threads = self.threads or usable_cores()
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": threads * self.parallel_runs,
            "NUM_STREAMS": self.parallel_runs,  # windows at once
            "CACHE_DIR": str(user_cache_path("tacoglow", appauthor=False) / "openvino"),
        }
        try:
            # Given a path, OpenVINO would also take its own format, which bundles are not checked for.
            frontend = import_openvino().frontend.FrontEndManager().load_by_framework("onnx")
            compiled = self._core.compile_model(frontend.convert(frontend.load(str(path))), "CPU", settings)
        except Exception as error:  # OpenVINO raises RuntimeError, and on a full disk others
            raise BackendError(
                f"{path}: OpenVINO cannot load it: {first_line(error)}; use --backend onnxruntime"
            ) from error
        check_ports(graph, spec, compiled)
        return OpenVinoVocoder(graph, spec, self.manifest, compiled)


def check_ports(name: str, spec: GraphSpec, compiled: Any) -> None:
    """Compare the names and dtypes of a model's inputs and outputs with the manifest. Raises BundleError."""
    for side, tensors, ports in (("input", spec.inputs, compiled.inputs), ("output", spec.outputs, compiled.outputs)):
        found = {name: port.get_element_type().to_dtype().name for port in ports for name in port.get_names()}
        for tensor in tensors:
            if found.get(tensor.name) != tensor.dtype:
                raise BundleError(
                    f"{name}: {side} {tensor.name} is {tensor.dtype} in the manifest, "
                    f"{found.get(tensor.name, 'absent')} in the graph; export the voice again"
                )


class OpenVinoVocoder(GraphRunner):
    """The vocoder's graph; runs in any number of threads at once."""

    def __init__(self, name: str, spec: GraphSpec, manifest: Manifest, compiled: Any) -> None:
        super().__init__(name, spec, manifest)
        self._compiled = compiled
        self._requests: SimpleQueue[Any] = SimpleQueue()  # idle ones
        largest = WINDOW_FRAMES + manifest.vocoder.frames_before + manifest.vocoder.frames_after
        self.window_sizes = vocoder_window_sizes(manifest, manifest.range("F").max, WINDOW_FRAMES, largest)
        for frames in self.window_sizes:
            shapes = {tensor.name: tensor.resolve({"B": 1, "F": frames}) for tensor in spec.inputs}
            self.run(**{tensor: np.zeros(shape, np.float32) for tensor, shape in shapes.items()})

    def _bind(self, buffers: Mapping[str, Array]) -> Call:
        openvino = import_openvino()
        inputs = {tensor.name: openvino.Tensor(buffers[tensor.name], shared_memory=True) for tensor in self.spec.inputs}
        (output,) = (buffers[tensor.name] for tensor in self.spec.outputs)

        def call() -> None:
            request = self._idle_request()
            for tensor, value in inputs.items():
                request.set_tensor(tensor, value)
            request.infer()
            output[:] = request.get_output_tensor(0).data
            self._requests.put(request)

        return call

    def _idle_request(self) -> Any:
        try:
            return self._requests.get_nowait()
        except Empty:
            return self._compiled.create_infer_request()
