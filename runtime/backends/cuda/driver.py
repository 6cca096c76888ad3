"""Asks the NVIDIA driver, without any Python package, if there is a GPU, and says how to use it from here."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass

CUDA_13 = 13000  # a driver's version, as cuDriverGetVersion reports it


@dataclass(frozen=True)
class Driver:
    version: int  # the newest CUDA that it supports: 1000 * major + 10 * minor
    gpus: int

    @property
    def cuda(self) -> str:
        """The version as NVIDIA writes it: 13.0."""
        return f"{self.version // 1000}.{self.version % 1000 // 10}"


@functools.cache
def find_driver() -> Driver | None:
    """Find the installed driver; None if there is none or it cannot be initialized."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    version, gpus = ctypes.c_int(), ctypes.c_int()
    succeeded = (
        library.cuInit(0) == 0
        and library.cuDriverGetVersion(ctypes.byref(version)) == 0
        and library.cuDeviceGetCount(ctypes.byref(gpus)) == 0
    )
    return Driver(version.value, gpus.value) if succeeded else None


def driver_version() -> int:
    """Return the driver's CUDA version; 0 if there is none."""
    driver = find_driver()
    return 0 if driver is None else driver.version


def install_command() -> str:
    """Return the command that installs the GPU backends for this machine's driver."""
    driver = find_driver()
    extra = "gpu-cu12" if driver is not None and driver.version < CUDA_13 else "gpu-cu13"
    return f"pip install 'tacoglow[{extra}]'"
