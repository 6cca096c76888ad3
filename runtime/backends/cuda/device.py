"""GPUs: which there are, their memory, and which one is this thread's current one."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from ...errors import BackendError
from .driver import install_command


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    compute_capability: tuple[int, int]


def gpu_unavailable_reason(index: int = 0) -> str | None:
    """Return why the GPU of that index cannot be used, with the fix; None if it can."""
    for package, module in (("cuda-core", "cuda.core"), ("cuda-bindings", "cuda.bindings")):
        if importlib.util.find_spec("cuda") is None or importlib.util.find_spec(module) is None:
            return f"{package} is not installed ({install_command()})"
    try:
        find_gpu(index)
    except BackendError as error:
        return str(error)
    return None


def find_gpu(index: int) -> Gpu:
    """Find the GPU of that index. Raises BackendError if it cannot be used."""
    device = make_current(index)
    capability = device.compute_capability
    return Gpu(index, device.name, (capability.major, capability.minor))


@dataclass(frozen=True)
class DeviceMemory:
    free: int  # bytes
    total: int  # bytes


def device_memory(index: int) -> DeviceMemory:
    """Measure a GPU's memory, including that of other processes."""
    from cuda.bindings import driver

    make_current(index)
    status, free, total = driver.cuMemGetInfo()
    check((status,))
    return DeviceMemory(int(free), int(total))


def make_current(index: int) -> Any:
    """Make a GPU this thread's current one, and return its cuda-core device."""
    try:
        from cuda.core import Device

        device = Device(index)
        device.set_current()
    except ImportError as error:
        raise BackendError(f"cuda-core cannot be imported: {error} ({install_command()})") from error
    except Exception as error:  # driver errors, a missing driver and a bad index have no common base class
        absent = type(error).__name__ == "DynamicLibNotFoundError"
        reason = "no NVIDIA driver is installed" if absent else str(error).splitlines()[0]
        raise BackendError(f"GPU {index} cannot be used: {reason}") from error
    return device


def check(results: tuple[Any, ...], error: type[Exception] = BackendError) -> Any:
    """Return the value of a driver call, whose first result is its status. Raises `error` if the call failed."""
    from cuda.bindings import driver

    status, *values = results
    if status != driver.CUresult.CUDA_SUCCESS:
        raise error(f"{status.name} ({driver.cuGetErrorString(status)[1].decode()})")
    return values[0] if values else None
