"""Runs graphs on ONNX Runtime's CUDA provider, without TensorRT: the same decoder loop, enqueued step by step."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...bundle.manifest import GraphSpec, Manifest
from ...bundle.reading import graph_path
from ...errors import BackendError
from ..base import Backend, BackendOptions, GraphRunner
from ..onnxruntime import ONNX_ONLY, check_tensors, explained_failures, import_onnxruntime
from .device import find_gpu, gpu_unavailable_reason
from .driver import install_command
from .graph import CudaGraphRunner
from .rows import decode_with_engine
from .stream import CudaStream, DeviceArray, Enqueue

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaBackend(Backend):
    name = "onnxruntime-cuda"
    runs_asynchronously = True

    def __init__(self, bundle: Path, manifest: Manifest, options: BackendOptions) -> None:
        super().__init__(bundle, manifest, options)
        gpu = find_gpu(options.device)
        self.device = f"{gpu.name}, GPU {gpu.index}"
        self._stream = CudaStream(options.device)

    @staticmethod
    def unavailable_reason(device: int = 0) -> str | None:
        no_gpu = gpu_unavailable_reason(device)
        if no_gpu is not None:
            return no_gpu
        if importlib.util.find_spec("onnxruntime") is None:
            return f"onnxruntime-gpu is not installed ({install_command()})"
        onnxruntime = import_onnxruntime()
        if PROVIDER not in onnxruntime.get_available_providers():
            return (
                "the installed onnxruntime has no CUDA provider: onnxruntime and onnxruntime-gpu overwrite each other "
                f"(pip uninstall onnxruntime onnxruntime-gpu; {install_command()})"
            )
        return None

    def synchronize(self) -> None:
        self._stream.record().wait()

    def _open(self, graph: str) -> GraphRunner:
        onnxruntime = import_onnxruntime()
        spec = self.manifest.graphs[graph]
        path = graph_path(self.bundle, graph, spec)
        settings = {
            "device_id": self.options.device,
            "user_compute_stream": str(self._stream.handle),  # so that runs and copies are in order
            "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search at every new shape takes seconds
            "use_tf32": "0",  # TF32 keeps 10 of float32's 23 mantissa bits: utterances would end at a different frame
        }
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry(*ONNX_ONLY)
        if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on: finds the CUDA and cuDNN of the pip packages
            onnxruntime.preload_dlls()
        with explained_failures(str(path), "cannot load it"):
            session = onnxruntime.InferenceSession(
                str(path), options, providers=[(PROVIDER, settings), "CPUExecutionProvider"]
            )
        if PROVIDER not in session.get_providers():  # ONNX Runtime continues without a provider that fails to load
            raise BackendError(
                f"{path}: ONNX Runtime cannot load its CUDA provider; is the CUDA that it was built for installed?"
            )
        runner = OnnxRuntimeCudaGraph(graph, spec, self.manifest, self._stream, session, self.options.device)
        if graph == "decoder_step":
            decode_with_engine(runner)
        return runner


class OnnxRuntimeCudaGraph(CudaGraphRunner):
    capturable = False

    def __init__(
        self, name: str, spec: GraphSpec, manifest: Manifest, stream: CudaStream, session: Any, device: int
    ) -> None:
        super().__init__(name, spec, manifest, stream)
        check_tensors(name, spec, session)
        self._session_context = OnnxRuntimeCudaContext(name, spec, session, device)

    def new_context(self) -> OnnxRuntimeCudaContext:
        return self._session_context  # a session has no state between runs


class OnnxRuntimeCudaContext:
    """Enqueues runs of one session."""

    def __init__(self, name: str, spec: GraphSpec, session: Any, device: int) -> None:
        self._name, self._spec, self._session, self._device = name, spec, session, device

    def is_capturable(self) -> bool:
        return False  # some nodes may run on the host

    def bind(self, buffers: Mapping[str, DeviceArray]) -> Enqueue:
        onnxruntime = import_onnxruntime()
        binding = self._session.io_binding()
        for tensors, bind in ((self._spec.inputs, binding.bind_input), (self._spec.outputs, binding.bind_output)):
            for tensor in tensors:
                buffer = buffers[tensor.name]
                bind(tensor.name, "cuda", self._device, buffer.dtype, buffer.shape, buffer.address)
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        session, name = self._session, self._name

        # The binding stores only addresses; the default argument keeps the memory alive as long as the call.
        def enqueue(_keep_alive: Mapping[str, DeviceArray] = buffers) -> None:
            with explained_failures(name):
                session.run_with_iobinding(binding, options)

        return enqueue
