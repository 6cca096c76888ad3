"""Measures the ceilings of this machine: operations per second and bytes per second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .clock import clock_for

REPEATS = 5
CPU_SIZE = 2048  # rows and columns of the matrices
GPU_SIZE = 8192
COPIED_BYTES = 256 << 20  # larger than any cache


def ceilings(device: str, precision: str) -> dict[str, float]:
    """Time REPEATS matrix products and copies, and return the best rates.

    bytes_per_second counts bytes read and written. On "cpu", matrix products are in float32 whatever the precision.
    """
    product, copy = _time_on_cpu() if device == "cpu" else _time_on_gpu(device, precision)
    size = CPU_SIZE if device == "cpu" else GPU_SIZE
    return {"operations_per_second": 2.0 * size**3 / product, "bytes_per_second": 2.0 * COPIED_BYTES / copy}


def _time_on_cpu() -> tuple[float, float]:
    """Return the least seconds of a matrix product and of a copy."""
    a = np.random.default_rng(0).standard_normal((CPU_SIZE, CPU_SIZE), np.float32)
    out, source = np.empty_like(a), np.ones(COPIED_BYTES, np.uint8)
    target = np.empty_like(source)
    product = _best("cpu", lambda: np.matmul(a, a, out=out))
    return product, _best("cpu", lambda: np.copyto(target, source))


def _time_on_gpu(device: str, precision: str) -> tuple[float, float]:
    """Return the least seconds of a matrix product and of a copy."""
    import torch

    from .pytorch import DTYPES

    a = torch.randn(GPU_SIZE, GPU_SIZE, device=device).to(DTYPES[precision])
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _best(device, lambda: a @ a), _best(device, lambda: target.copy_(source))


def _best(device: str, job: Callable[[], object]) -> float:
    clock = clock_for(device)
    seconds = []
    for _ in range(REPEATS):
        clock.start()
        job()
        clock.lap("job")
        seconds.append(clock.seconds()["job"])
    return min(seconds)
