"""The config.pbtxt of each model in a repository, from a bundle's manifest and the serving options."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from ..runtime.backends.base import Compute, Decoder
from ..runtime.bundle.manifest import GraphSpec, Manifest, TensorSpec
from ..runtime.decoder import ProfileName
from ..runtime.errors import ExportError
from .contract import INPUTS, OUTPUTS, REQUIRED, RequestLimits
from .pbtxt import Word

Backend = Literal["onnxruntime", "openvino", "tensorrt"]
# What runs the single graphs as models of their own, for each backend of the text models.
PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "openvino": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
WARMUP_FRAMES = 128  # frame limit of the warm-up request
WARMUP_LETTERS = 20  # most letters or phones in its text
DATA_TYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL"}  # dtype in the manifest -> Triton's data type


@dataclass(frozen=True)
class ServingOptions:
    """Settings and limits of a served voice; docs/triton.md describes how to size it."""

    backend: Backend = "onnxruntime"
    instances: int = 1  # processes of each text model; with tensorrt, per GPU
    gpus: tuple[int, ...] = ()  # indices; all if empty
    threads: int = 0  # CPU threads per instance; 0: all usable cores
    max_batch: int | None = None  # most texts per batch; the bundle's limit if None
    queue_delay_us: int = 5_000  # longest wait of a text for others to share its batch, in microseconds
    max_queue: int = 256  # queue length of a model; further requests are rejected
    streams: int = 4  # concurrent streams per instance
    max_characters: int = RequestLimits.max_characters  # longest accepted text
    max_retries: int = RequestLimits.max_retries  # most retries of a request
    max_frames: int = RequestLimits.max_frames  # frame limit of an utterance; 0: the bundle's
    max_seconds: float = RequestLimits.max_seconds  # of computing for one request, which is then abandoned
    compute: Compute = "fp32"  # precision on a CPU, as in Synthesizer.load
    decoder: Decoder = "engine"  # on a GPU, likewise
    profile: ProfileName = "latency"  # how requests share decoder steps, as in SchedulerLimits

    def __post_init__(self) -> None:
        for name in ("instances", "max_queue", "streams", "max_characters"):
            if getattr(self, name) < 1:
                raise ExportError(f"{name.replace('_', ' ')}: expected 1 or more, got {getattr(self, name)}")
        if not 0.0 < self.max_seconds < math.inf:
            raise ExportError(f"max seconds: expected a number above 0, got {self.max_seconds}")
        for name in ("threads", "queue_delay_us", "max_retries", "max_frames"):
            if getattr(self, name) < 0:
                raise ExportError(f"{name.replace('_', ' ')}: expected 0 or more, got {getattr(self, name)}")
        if self.gpus and self.backend != "tensorrt":
            raise ExportError(f"gpus: need --backend tensorrt; {self.backend} runs on the CPU")
        if self.compute != "fp32" and self.backend == "tensorrt":
            raise ExportError(f"compute {self.compute!r}: needs --backend onnxruntime or openvino, got tensorrt")
        if self.decoder == "fused" and self.backend != "tensorrt":
            raise ExportError(f"decoder 'fused': needs --backend tensorrt, got {self.backend}")

    def batch_limit(self, manifest: Manifest) -> int:
        """max_batch, or the bundle's limit if None. Raises ExportError unless it is 1 to that limit."""
        limit = manifest.range("B").max
        batch = limit if self.max_batch is None else self.max_batch
        if not 1 <= batch <= limit:
            raise ExportError(
                f"max batch: expected 1 to {limit} (this bundle's limit), got {batch}; "
                "a larger one needs export-onnx --max-batch"
            )
        return batch


def text_config(name: str, manifest: Manifest, options: ServingOptions, is_stream: bool) -> dict[str, Any]:
    """Configuration of a text model: complete speech in one response, or a stream of segments."""
    config: dict[str, Any] = {
        "name": name,
        "backend": "python",
        "max_batch_size": 1 if is_stream else options.batch_limit(manifest),
        "version_policy": {"all": {}},
        "input": [
            {"name": tensor, "data_type": Word(f"TYPE_{kind}"), "dims": [1]}
            | ({} if tensor in REQUIRED else {"optional": True})
            for tensor, kind in INPUTS.items()
        ],
        "output": [
            {"name": tensor, "data_type": Word(f"TYPE_{kind}"), "dims": [-1 if tensor == "audio" else 1]}
            for tensor, kind in OUTPUTS.items()
        ],
        "dynamic_batching": {
            "max_queue_delay_microseconds": 0 if is_stream else options.queue_delay_us,
            "default_queue_policy": {"max_queue_size": options.max_queue, "allow_timeout_override": True},
        },
        "instance_group": [_instances(options, options.instances)],
        "parameters": [
            {"key": key, "value": {"string_value": str(value)}} for key, value in _parameters(manifest, options).items()
        ],
    }
    if is_stream:
        config["model_transaction_policy"] = {"decoupled": True}
    if warmup_files(manifest):
        config["model_warmup"] = [_warmup()]
    return config


def _parameters(manifest: Manifest, options: ServingOptions) -> dict[str, object]:
    """Parameters that the model reads, and then facts of the voice for clients."""
    names = "backend", "compute", "decoder", "profile", "threads", "streams"
    limits = (limit.name for limit in fields(RequestLimits))
    return {name: getattr(options, name) for name in (*names, *limits)} | {
        "voice": manifest.voice.name,
        "language": manifest.voice.language,
        "sampling_rate": manifest.audio.sampling_rate,
        "letter": manifest.text.front_end().sample(1),
    }


def graph_config(name: str, graph: GraphSpec, max_batch: int, options: ServingOptions) -> dict[str, Any]:
    """Configuration of one graph as a model, with the manifest's tensors; Triton adds the batch dimension."""
    return {
        "name": name,
        "platform": PLATFORMS[options.backend],
        "max_batch_size": max_batch,
        "version_policy": {"all": {}},
        "input": [_graph_tensor(tensor) for tensor in graph.inputs],
        "output": [_graph_tensor(tensor) for tensor in graph.outputs],
        "dynamic_batching": {"default_queue_policy": {"max_queue_size": options.max_queue}},
        "instance_group": [_instances(options, 1)],
    }


def warmup_files(manifest: Manifest) -> dict[str, bytes]:
    """The warm-up request of a text model: input name -> content of its file. Empty if it speaks no symbol.

    The text consists of letters from the voice's symbols, because its language is not known, and a number, for which
    some cleaners load a library.
    """
    letters = manifest.text.front_end().sample(WARMUP_LETTERS)
    if not letters:
        return {}
    text = f"{letters} 2".encode()
    frames = min(WARMUP_FRAMES, manifest.decoder.max_frames)
    return {"text": len(text).to_bytes(4, "little") + text, "max_frames": frames.to_bytes(4, "little")}


def _warmup() -> dict[str, Any]:
    inputs = [
        {
            "key": name,
            "value": {"data_type": Word(f"TYPE_{INPUTS[name]}"), "dims": [1], "input_data_file": name},
        }
        for name in ("text", "max_frames")
    ]
    return {"name": "speech", "batch_size": 1, "inputs": inputs}


def _graph_tensor(tensor: TensorSpec) -> dict[str, Any]:
    batch, *rest = tensor.shape
    if batch != "B":
        raise ExportError(f"{tensor.name}: expected B as the first dimension, which Triton batches, got {batch}")
    described: dict[str, Any] = {"name": tensor.name, "data_type": Word(f"TYPE_{DATA_TYPES[tensor.dtype]}")}
    if not rest:  # Triton has no scalars: declare one value, reshaped to no dimensions
        return described | {"dims": [1], "reshape": {"shape": []}}
    return described | {"dims": [entry if isinstance(entry, int) else -1 for entry in rest]}


def _instances(options: ServingOptions, count: int) -> dict[str, Any]:
    if options.backend == "tensorrt":
        return {"count": count, "kind": Word("KIND_GPU"), "gpus": list(options.gpus)}
    return {"count": count, "kind": Word("KIND_CPU")}
