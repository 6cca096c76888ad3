"""`tacoglow doctor`: installed parts, available backends, and how to install what is missing."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

GPU = "the GPU command below"
# Distributions that provide a part -> the part's purpose, and how to install it.
PARTS = {
    ("numpy",): ("the runtime", "pip install tacoglow"),
    ("onnxruntime", "onnxruntime-gpu"): ("running on a CPU, export", "pip install 'tacoglow[cpu]'"),
    ("cuda-core",): ("running on an NVIDIA GPU", GPU),
    ("cuda-bindings",): ("running on an NVIDIA GPU", GPU),
    ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"): ("TensorRT", GPU),
    ("onnxruntime-gpu",): ("a GPU without TensorRT", GPU),
    ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"): ("TensorRT for RTX", "pip install tensorrt-rtx-cu13"),
    ("torch",): ("export", "pip install 'tacoglow[export]'"),
    ("onnx",): ("export", "pip install 'tacoglow[export]'"),
    ("tritonclient",): ("tacoglow say", "pip install 'tacoglow[client]'"),
    ("matplotlib",): ("--plot", "pip install 'tacoglow[plot]'"),
}

GPU_BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")


def doctor() -> None:
    """Show what is installed, which backends are available, and how to install what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from .. import __version__
    from ..runtime.backends import BACKENDS, backend_class
    from ..runtime.backends.cuda.driver import find_driver, install_command
    from ..runtime.backends.cuda.fused.proof import kept_verdicts
    from ..runtime.backends.tensorrt.cache import default_folder

    console = Console()
    console.print(f"tacoglow {__version__}, Python {platform.python_version()}, {platform.platform()}")
    parts = Table("part", "version", "needed for", "install with")
    for names, (purpose, command) in PARTS.items():
        found = next(((name, version) for name in names if (version := _version(name))), None)
        parts.add_row(
            found[0] if found else names[0], found[1] if found else "–", purpose, "" if found else escape(command)
        )
    console.print(parts)
    backends = Table("backend", "on this machine")
    reasons = {name: backend_class(name).unavailable_reason() for name in BACKENDS}
    for name, reason in reasons.items():
        backends.add_row(name, escape(reason or "available"))
    console.print(backends)

    def note(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    driver = find_driver()
    if driver is None:
        note("NVIDIA driver: none found, so there is no GPU to run on")
    else:
        note(f"NVIDIA driver: CUDA {driver.version // 1000}.{driver.version % 1000 // 10}, {driver.gpus} GPU(s)")
    note(f"for a GPU: {install_command()}")
    note(f"engine cache: {default_folder()}")
    for verdict in kept_verdicts(default_folder()):
        note(f"decoder on {verdict.gpu}, graph {verdict.graph_sha256[:12]}…: {verdict.line}")
    if _version("onnxruntime") and _version("onnxruntime-gpu"):
        note(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; keep one: "
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one that you need again"
        )
    if driver is not None and driver.gpus and all(reasons[name] for name in GPU_BACKENDS):
        note("this machine has a GPU, but no GPU backend is available: --backend auto runs on the CPU")
    if all(reasons.values()):
        console.print("no backend is available: trt-infer cannot run; install one of the parts above")
        sys.exit(1)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
