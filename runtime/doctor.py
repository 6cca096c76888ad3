"""`tacoglow doctor`: what is installed, which backends can run here, what is missing and how to get it."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

# distribution names that provide a thing -> what it is for, how to get it
PARTS = {
    ("numpy",): ("the runtime", "pip install tacoglow"),
    ("onnxruntime", "onnxruntime-gpu"): ("speaking on a CPU", "pip install 'tacoglow[cpu]'"),
    ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"): ("speaking on an NVIDIA GPU", "pip install 'tacoglow[gpu]'"),
    ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"): ("the same, on RTX", "pip install tensorrt-rtx-cu13"),
    ("cuda-core",): ("speaking on an NVIDIA GPU", "pip install 'tacoglow[gpu]'"),
    ("filelock",): ("keeping engines", "pip install 'tacoglow[gpu]'"),
    ("torch",): ("export", "pip install 'tacoglow[export]'"),
    ("onnx",): ("export", "pip install 'tacoglow[export]'"),
    ("tritonclient",): ("tacoglow say", "pip install 'tacoglow[client]'"),
    ("matplotlib",): ("--plot", "pip install 'tacoglow[plot]'"),
}


def doctor() -> None:
    """Show what is installed, which backends can run here, and the command that brings what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from .. import __version__
    from .backends import BACKENDS
    from .engines.cache import secret_path

    console = Console()
    console.print(f"tacoglow {__version__}, Python {platform.python_version()}, {platform.platform()}")
    parts = Table("part", "version", "needed for", "to get it")
    for names, (purpose, command) in PARTS.items():
        found = next(((name, version) for name in names if (version := _version(name))), None)
        parts.add_row(
            found[0] if found else names[0], found[1] if found else "–", purpose, "" if found else escape(command)
        )
    console.print(parts)
    backends = Table("backend", "here")
    reasons = {name: backend.missing() for name, backend in BACKENDS.items()}
    for name, reason in reasons.items():
        backends.add_row(name, escape(reason or "can run"))
    console.print(backends)
    console.print(f"engines that this machine builds are sealed with {secret_path()}", highlight=False, soft_wrap=True)
    if all(reasons.values()):
        console.print("no backend can run here: trt-infer cannot speak")
        sys.exit(1)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
