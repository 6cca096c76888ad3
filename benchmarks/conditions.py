"""Describes the conditions of a measurement: date, machine, threads and package versions."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..runtime.backends.base import usable_cores
from ..runtime.backends.cuda.device import device_memory, find_gpu, gpu_unavailable_reason
from ..runtime.backends.cuda.driver import find_driver
from ..runtime.installed import installed_versions

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "torchaudio", "tensorrt", "tensorrt-cu13")
MODULES = ("tensorrt", "tensorrt_rtx")  # may be installed without package metadata


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


def gpu_index(device: int) -> int | None:
    """Return device if there is a GPU that can be used, otherwise None."""
    return device if gpu_unavailable_reason() is None else None


def memory_used(gpu: int | None) -> int:
    """Bytes in use on the GPU by all processes, or resident in this process if gpu is None; 0 if unknown."""
    if gpu is not None:
        memory = device_memory(gpu)
        return memory.total - memory.free
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(index: int) -> dict[str, str]:
    gpu, driver = find_gpu(index), find_driver()
    assert driver is not None
    return {
        "name": gpu.name,
        "compute_capability": "{}.{}".format(*gpu.compute_capability),
        "driver": f"CUDA {driver.cuda}",
    }


def _versions() -> dict[str, str]:
    versions = installed_versions(*PACKAGES)
    for name in MODULES:
        module = sys.modules.get(name)  # imported only if it was used
        if module is not None:
            versions.setdefault(name, str(module.__version__))
    return versions
