"""The packages that parts of tacoglow need: for `tacoglow doctor`, and for the error when one is missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A package, or several of which any will do."""

    distributions: tuple[str, ...]
    needed_for: str
    install: str | None  # the command that installs it; None: it depends on the GPU, and doctor prints it
    module: str | None = None  # None: named after the distribution


def _extra(name: str) -> str:
    return f"pip install 'tacoglow[{name}]'"


PARTS = (
    Part(("numpy",), "tacoglow", "pip install tacoglow"),
    Part(("onnxruntime", "onnxruntime-gpu"), "speech on a CPU", _extra("cpu")),
    Part(("openvino",), "the backend openvino", _extra("openvino")),
    Part(("cuda-core",), "speech on a GPU", None, "cuda"),
    Part(("cuda-bindings",), "speech on a GPU", None),
    Part(("tensorrt", "tensorrt-cu13", "tensorrt-cu12"), "TensorRT", None),
    Part(("onnxruntime-gpu",), "a GPU without TensorRT", None),
    Part(
        ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"), "TensorRT for RTX", "pip install tensorrt-rtx-cu13", "tensorrt_rtx"
    ),
    Part(("torch",), "export-onnx", _extra("export")),
    Part(("onnx",), "export-onnx", _extra("export")),
    Part(("pyyaml",), "a config in YAML", _extra("export"), "yaml"),
    Part(("safetensors",), "a checkpoint in safetensors", _extra("export")),
    Part(("huggingface-hub",), "a voice of hf://", _extra("hub"), "huggingface_hub"),
    Part(("matplotlib",), "--plot", _extra("plot")),
    Part(("av",), "flac, opus, mp3, aac, ulaw, alaw", _extra("formats")),
    Part(("starlette",), "tacoglow serve", _extra("serve")),
    Part(("uvicorn",), "tacoglow serve", _extra("serve")),
    Part(("h11",), "tacoglow serve", _extra("serve")),
    Part(("anyio",), "tacoglow serve", _extra("serve")),
    Part(("websockets",), "tacoglow serve", _extra("serve")),
    Part(("wyoming",), "tacoglow serve", _extra("serve")),
    Part(("tritonclient",), "say --url", _extra("client")),
    Part(("scipy",), "bench --compare", _extra("bench")),
)


def describe_missing(module: str) -> str:
    """Name the part that needs the module, and how to install it."""
    for part in PARTS:
        if module.partition(".")[0] == (part.module or part.distributions[0]) and part.install is not None:
            return f"{part.needed_for} needs {part.distributions[0]}; install it with: {part.install}"
    return f"{module} is not installed; see: tacoglow doctor"
