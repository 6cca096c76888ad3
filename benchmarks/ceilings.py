"""Measures the ceilings of this machine: operations per second and bytes per second."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime.backends.cuda.stream import CudaStream
from ..runtime.errors import one_line

REPEATS = 5
CPU_SIZE = 2048  # rows and columns of the matrices
GPU_SIZE = 8192
COPIED_BYTES = 256 << 20  # larger than any cache


def measure_ceilings(
    rows: Sequence[dict[str, Any]], gpu: int | None, progress: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return the ceilings of each device and precision in rows, by the name that is stored in each row's "ceiling".

    A ceiling that cannot be measured is reported and left empty: the rows were measured before it and are worth more.
    """
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        # A CPU computes fp16 and bf16 in float32.
        on_cpu = row["device"] == "CPU"
        name = row["ceiling"] = "CPU, fp32" if on_cpu else f"{row['device']}, {row['precision']}"
        if name not in found:
            try:
                found[name] = cpu_ceilings() if on_cpu else gpu_ceilings(gpu or 0, row["precision"])
            except Exception as error:  # those of PyTorch, cuda-core and the driver share no base class
                progress(f"{name}: the ceilings cannot be measured: {one_line(error)}")
                found[name] = {}
    return found


def cpu_ceilings() -> dict[str, float]:
    """Time REPEATS float32 matrix products and copies, and return the best rates.

    bytes_per_second counts bytes read and written.
    """
    a = np.random.default_rng(0).standard_normal((CPU_SIZE, CPU_SIZE), np.float32)
    out, source = np.empty_like(a), np.ones(COPIED_BYTES, np.uint8)
    target = np.empty_like(source)
    product, copy = _best(lambda: np.matmul(a, a, out=out)), _best(lambda: np.copyto(target, source))
    return {"operations_per_second": 2.0 * CPU_SIZE**3 / product, "bytes_per_second": 2.0 * COPIED_BYTES / copy}


def gpu_ceilings(gpu: int, precision: str) -> dict[str, float]:
    """The same on a GPU; without operations_per_second if PyTorch, which has a matrix product, is not installed."""
    stream = CudaStream(gpu)
    source, target = (stream.empty((COPIED_BYTES,), np.uint8) for _ in range(2))
    seconds = []
    for _ in range(REPEATS):
        begin = stream.record_time()
        stream.copy(target, source)
        seconds.append(stream.record_time().seconds_since(begin))
    rates = {"bytes_per_second": 2.0 * COPIED_BYTES / min(seconds)}
    if importlib.util.find_spec("torch") is not None:
        rates["operations_per_second"] = 2.0 * GPU_SIZE**3 / _time_gpu_product(gpu, precision)
    return rates


def _time_gpu_product(gpu: int, precision: str) -> float:
    """Return the least seconds of a matrix product."""
    import torch

    from .clock import clock_for
    from .pytorch import DTYPES, products_in

    a = torch.randn(GPU_SIZE, GPU_SIZE, device=f"cuda:{gpu}").to(DTYPES[precision])
    clock, seconds = clock_for(f"cuda:{gpu}"), []
    with products_in(precision):
        for _ in range(REPEATS):
            clock.start()
            torch.matmul(a, a)
            clock.lap("product")
            seconds.append(clock.seconds()["product"])
    return min(seconds)


def _best(job: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
