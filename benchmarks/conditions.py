"""Describes the conditions of a measurement: date, machine, threads and package versions."""

from __future__ import annotations

import importlib.util
import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "torch", "torchaudio", "tensorrt", "tensorrt-cu13")


def conditions(threads: int, gpu: int | None) -> dict[str, Any]:
    """Return the conditions as JSON values. gpu: index of the GPU that was used, None if none was."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "threads": threads,
        "load_average_before": os.getloadavg()[0],
        "gpu": None if gpu is None else _gpu(gpu),
        "versions": {"tacoglow": __version__, "python": platform.python_version()} | _versions(),
    }


def usable_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_index(device: int) -> int | None:
    """Return device if PyTorch can use a CUDA GPU, otherwise None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return device if torch.cuda.is_available() else None


def memory_used(gpu: int | None) -> int:
    """Bytes in use on the GPU by all processes, or resident in this process if gpu is None; 0 if unknown."""
    if gpu is not None:
        import torch

        free, total = torch.cuda.mem_get_info(gpu)
        return int(total - free)
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(index: int) -> dict[str, str]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    capability = f"{properties.major}.{properties.minor}"
    return {"name": properties.name, "compute_capability": capability, "cuda": str(torch.version.cuda)}


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
