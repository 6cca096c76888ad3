"""`tacoglow doctor`: installed parts, available backends, and how to install what is missing."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

# Distributions that provide a part -> the part's purpose, and how to install it.
PARTS = {
    ("numpy",): ("the runtime", "pip install tacoglow"),
    ("onnxruntime", "onnxruntime-gpu"): ("running on a CPU", "pip install 'tacoglow[cpu]'"),
    ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"): ("running on an NVIDIA GPU", "pip install 'tacoglow[gpu]'"),
    ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"): ("running on an RTX GPU", "pip install tensorrt-rtx-cu13"),
    ("cuda-core",): ("running on an NVIDIA GPU", "pip install 'tacoglow[gpu]'"),
    ("torch",): ("export", "pip install 'tacoglow[export]'"),
    ("onnx",): ("export", "pip install 'tacoglow[export]'"),
    ("tritonclient",): ("tacoglow say", "pip install 'tacoglow[client]'"),
    ("matplotlib",): ("--plot", "pip install 'tacoglow[plot]'"),
}


def doctor() -> None:
    """Show what is installed, which backends are available, and how to install what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from .. import __version__
    from ..runtime.backends import BACKENDS, backend_class
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
    console.print(f"engine cache: {default_folder()}", highlight=False, soft_wrap=True)
    if all(reasons.values()):
        console.print("no backend is available: trt-infer cannot run; install one of the parts above")
        sys.exit(1)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
