"""The models of a repository and their config.pbtxt, from a bundle's manifest and a few limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...runtime.manifest import GraphSpec, Manifest, TensorSpec
from ...runtime.serving.contract import INPUTS, OUTPUTS, REQUIRED
from ..errors import ExportError
from .pbtxt import Word

Backend = Literal["onnxruntime", "tensorrt"]
WARMUP_FRAMES = 128  # of the request that a model is warmed up with
WARMUP_LETTERS = 20
DATA_TYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL"}  # the manifest's -> Triton's


@dataclass(frozen=True)
class ServingOptions:
    """What one may turn when a voice is served; docs/serving.md tells how to size it."""

    backend: Backend = "onnxruntime"
    instances: int = 1  # processes of each text model, on every GPU if it runs on GPUs
    gpus: tuple[int, ...] = ()  # all if empty
    threads: int = 0  # CPU threads of an instance; 0: all usable cores
    max_batch: int | None = None  # texts spoken together; the bundle's limit if None
    queue_delay_us: int = 5_000  # microseconds that a text waits for others to share its batch
    max_queue: int = 256  # requests waiting for a model; one more is refused
    streams: int = 4  # streams that one instance serves in turn
    max_characters: int = 5_000  # of one text; a longer one is refused

    def __post_init__(self) -> None:
        for name in ("instances", "max_queue", "streams", "max_characters"):
            if getattr(self, name) < 1:
                raise ExportError(f"{name.replace('_', ' ')}: expected 1 or more, got {getattr(self, name)}")
        for name in ("threads", "queue_delay_us"):
            if getattr(self, name) < 0:
                raise ExportError(f"{name.replace('_', ' ')}: expected 0 or more, got {getattr(self, name)}")
        if self.gpus and self.backend != "tensorrt":
            raise ExportError("gpus: go with --backend tensorrt; onnxruntime runs on the CPU")

    def batch_limit(self, manifest: Manifest) -> int:
        limit = manifest.range("B").max
        batch = limit if self.max_batch is None else self.max_batch
        if not 1 <= batch <= limit:
            raise ExportError(
                f"max batch: expected 1 to {limit} (this bundle's limit), got {batch}; "
                "a larger one needs export-onnx --max-batch"
            )
        return batch


def text_config(name: str, manifest: Manifest, options: ServingOptions, is_stream: bool) -> dict[str, Any]:
    """A model that takes text: the whole speech in one response, or a stream of chunks."""
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
            {"key": key, "value": {"string_value": str(getattr(options, key))}}
            for key in ("backend", "threads", "max_characters", "streams")
        ],
    }
    if is_stream:
        config["model_transaction_policy"] = {"decoupled": True}
    if warmup_files(manifest):
        config["model_warmup"] = [_warmup()]
    return config


def graph_config(name: str, graph: GraphSpec, max_batch: int, options: ServingOptions) -> dict[str, Any]:
    """One graph as a model of its own; its tensors are the manifest's, the batch left to Triton."""
    platform = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}[options.backend]
    return {
        "name": name,
        "platform": platform,
        "max_batch_size": max_batch,
        "version_policy": {"all": {}},
        "input": [_graph_tensor(tensor) for tensor in graph.inputs],
        "output": [_graph_tensor(tensor) for tensor in graph.outputs],
        "dynamic_batching": {"default_queue_policy": {"max_queue_size": options.max_queue}},
        "instance_group": [_instances(options, 1)],
    }


def warmup_files(manifest: Manifest) -> dict[str, bytes]:
    """Input -> content of its file, of the request that a text model is warmed up with; empty if no symbol is a letter.

    The text is of the voice's own letters, since its language is not known, and has a number, which the cleaners of
    some languages load a library for.
    """
    letters = [symbol for symbol in manifest.text.symbols if len(symbol) == 1 and symbol.isalpha()][:WARMUP_LETTERS]
    if not letters:
        return {}
    text = f"{''.join(letters)} 2".encode()
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
        raise ExportError(f"{tensor.name}: its first dimension is {batch}, Triton batches along B")
    described: dict[str, Any] = {"name": tensor.name, "data_type": Word(f"TYPE_{DATA_TYPES[tensor.dtype]}")}
    if not rest:  # Triton describes no scalar but as one value of another shape
        return described | {"dims": [1], "reshape": {"shape": []}}
    return described | {"dims": [entry if isinstance(entry, int) else -1 for entry in rest]}


def _instances(options: ServingOptions, count: int) -> dict[str, Any]:
    if options.backend == "onnxruntime":
        return {"count": count, "kind": Word("KIND_CPU")}
    return {"count": count, "kind": Word("KIND_GPU"), "gpus": list(options.gpus)}
