"""`tacoglow doctor`: installed parts, available backends, and how to install what is missing."""

from __future__ import annotations

import json
import platform
import sys
from typing import Annotated, Any

import typer

from .shared.parts import PARTS

GPU_BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON to standard output.")] = False,
) -> None:
    """Show what is installed, which backends are available, and how to install what is missing."""
    findings = _examine()
    if as_json:
        print(json.dumps(findings, indent=1))
    else:
        _show(findings)
    if all(findings["backends"].values()):
        sys.exit(1)


def _examine() -> dict[str, Any]:
    """Examine this machine. backends: name -> why it is not available, null if it is."""
    from .. import __version__
    from ..runtime.backends import BACKENDS, backend_class
    from ..runtime.backends.cuda.driver import find_driver, install_command
    from ..runtime.backends.tensorrt.cache import default_folder
    from ..runtime.installed import installed_version

    parts = []
    for part in PARTS:
        names = part.distributions
        name, version = next(((name, found) for name in names if (found := installed_version(name))), (names[0], None))
        command = part.install or install_command()
        parts.append({"part": name, "version": version, "needed_for": part.needed_for, "install": command})
    backends = {name: backend_class(name).unavailable_reason() for name in BACKENDS}
    driver = find_driver()
    notes = []
    if installed_version("onnxruntime") and installed_version("onnxruntime-gpu"):
        notes.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; keep one: "
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one that you need again"
        )
    if driver is not None and driver.gpus and all(backends[name] for name in GPU_BACKENDS):
        notes.append("this machine has a GPU, but no GPU backend is available: --backend auto runs on the CPU")
    if backends["openvino"] is None:
        from ..runtime.backends.openvino import import_openvino, multiplies_bfloat16

        precision = "bfloat16" if multiplies_bfloat16(import_openvino().Core()) else "float32"
        notes.append(f"openvino on this processor: --compute auto generates audio in {precision}")
    if all(backends.values()):
        notes.append("no backend is available: trt-infer cannot run; install one of the parts above")
    return {
        "tacoglow": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "parts": parts,
        "backends": backends,
        "driver": None if driver is None else {"cuda": driver.cuda, "gpus": driver.gpus},
        "gpu_command": install_command(),
        "engine_cache": str(default_folder()),
        "notes": notes,
    }


def _show(findings: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()

    def note(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    note(f"tacoglow {findings['tacoglow']}, Python {findings['python']}, {findings['platform']}")
    parts = Table("part", "version", "needed for", "install with")
    for part in findings["parts"]:
        is_missing, is_for_gpu = not part["version"], part["install"] == findings["gpu_command"]
        command = ("see below" if is_for_gpu else escape(part["install"])) if is_missing else ""
        parts.add_row(part["part"], part["version"] or "–", part["needed_for"], command)
    console.print(parts)
    backends = Table("backend", "on this machine")
    for name, reason in findings["backends"].items():
        backends.add_row(name, escape(reason or "available"))
    console.print(backends)
    driver = findings["driver"]
    if driver is None:
        note("NVIDIA driver: none found, so there is no GPU to run on")
    else:
        note(f"NVIDIA driver: CUDA {driver['cuda']}, {driver['gpus']} GPU(s)")
    note(f"for a GPU: {findings['gpu_command']}")
    note(f"engine cache: {findings['engine_cache']}")
    for line in findings["notes"]:
        note(line)
