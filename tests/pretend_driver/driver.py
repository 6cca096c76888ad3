"""A pretended NVIDIA driver, under which the real cuda-core and cuda-bindings run on a machine without a GPU.

In a test, `cuda = install(monkeypatch)`: until the test ends, there is one GPU, named "Simulated GPU", with compute
capability 9.0. Elsewhere in the process, the driver is there but finds no GPU. For a process of its own, put `folder()`
at the head of LD_LIBRARY_PATH: there the GPU is always present.

The driver runs work as late as CUDA's rules allow, knows the bounds of all memory, and refuses what is not allowed in a
capture. What fails in work that runs later is a sticky fault, as on a GPU: it is printed, and every later call raises
it. Kernels run their emulation, which `emulation.compile_cubin` compiles in NVRTC's place (`install` puts it there);
real cubins cannot be loaded. `cuda.enqueue(stream.handle, work)` enqueues work in Python, such as an engine's.

On request: `refuse("cuMemAllocFromPoolAsync", OUT_OF_MEMORY)`, `reject_captures()`, `run_kernels(False)`,
`limit_gpu(multiprocessors=3)`, and `count("cuGraphLaunch")` or `count("kernel fused_decoder")`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.driver import find_driver
from tacoglow.runtime.backends.cuda.nvrtc import CubinCache

from .compiling import build_library
from .emulation import compile_cubin

HERE = Path(__file__).resolve().parent
FLAGS = "-std=c++17 -O1 -Wall -Wextra -Werror -shared -fPIC -Wl,-soname,libcuda.so.1".split()

# Statuses of cuda.h, for `refuse`.
WORKS = 0
OUT_OF_MEMORY = 2
LAUNCH_FAILED = 719

Work = Callable[[], None]
_HostFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def missing() -> str | None:
    """Return what this machine lacks to run under the pretended driver; None if nothing."""
    if shutil.which("g++") is None:
        return "no g++"
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return "cuda-bindings are not installed (pip install cuda-bindings)"
    return None


def has_nvrtc() -> bool:
    """True if NVRTC is installed, which the test environment does without."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        load_nvidia_dynamic_lib("nvrtc")
    except Exception:  # cuda-core is missing, or the library
        return False
    return True


def folder() -> Path:
    """Return the folder of libcuda.so.1, built at first use."""
    sources = {path.name: path.read_text() for path in sorted(HERE.iterdir()) if path.suffix in (".cpp", ".h")}
    units = [name for name in sources if name.endswith(".cpp")]
    return build_library("libcuda.so.1", sources, [*FLAGS, *units, "-ldl", "-lpthread"]).parent


def install(monkeypatch: pytest.MonkeyPatch) -> PretendDriver:
    """Give the test a GPU. Skips it where something is missing, unless CI requires it."""
    reason = missing()
    if reason is not None:
        give_up = pytest.fail if os.environ.get("TACOGLOW_REQUIRE_CPP") else pytest.skip
        give_up(reason)
    driver = load()
    monkeypatch.setattr(driver, "installed", True)
    monkeypatch.setattr(nvrtc, "compile_cubin", compile_cubin)
    # What it compiles is not for the user's own cache.
    monkeypatch.setattr(CubinCache, "get_or_compile", lambda cache, name, source: nvrtc.compile_cubin(source, "sm_90"))
    return driver


@functools.cache
def load() -> PretendDriver:
    """Load the driver into this process, without a GPU. Later requests for libcuda.so.1 find it by its name."""
    return PretendDriver(ctypes.CDLL(str(folder() / "libcuda.so.1")))


class PretendDriver:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._works: list[Work] = []  # all that were enqueued: a graph may run them again
        self._run = _HostFunction(self._run_work)
        library.pretend_count.restype = ctypes.c_int64
        library.pretend_is_allocated.restype = ctypes.c_bool
        self.installed = False

    @property
    def installed(self) -> bool:
        """If there is a GPU. Setting it forgets faults, requests and counts."""
        return self._installed

    @installed.setter
    def installed(self, installed: bool) -> None:
        self._installed = installed
        self._library.pretend_reset(installed)
        find_driver.cache_clear()

    def refuse(self, function: str, status: int) -> None:
        """From now on, a function of the driver returns this status, or "kernel NAME" ends with it; WORKS: no more."""
        self._library.pretend_refuse(function.encode(), status)

    def reject_captures(self) -> None:
        """From now on, any work invalidates a capture."""
        self._library.pretend_reject_captures(True)

    def run_kernels(self, runs: bool) -> None:
        """Run kernels, or leave their outputs as they are, to measure the host."""
        self._library.pretend_run_kernels(runs)

    def limit_gpu(self, multiprocessors: int) -> None:
        self._library.pretend_set_attribute(16, multiprocessors)

    def count(self, what: str) -> int:
        """Calls of a function of the driver, or launches of "kernel NAME"."""
        return int(self._library.pretend_count(what.encode()))

    def enqueue(self, stream: int, work: Work) -> int:
        """Enqueue work on a stream. Returns the status."""
        self._works.append(work)
        return int(self._library.cuLaunchHostFunc(ctypes.c_void_p(stream), self._run, len(self._works) - 1))

    def is_capturing(self, stream: int) -> bool:
        status = ctypes.c_int()
        self._library.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
        return status.value != 0

    def drain(self, stream: int) -> None:
        """Wait for a stream, as the destruction of what its work uses does."""
        self._library.pretend_drain(ctypes.c_void_p(stream))

    def bytes_at(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Bytes of the GPU's memory. Raises MemoryError if they are not allocated."""
        if not self._library.pretend_is_allocated(ctypes.c_void_p(address), ctypes.c_size_t(nbytes)):
            raise MemoryError(f"{nbytes} bytes at {address:#x} are not allocated")
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def _run_work(self, index: int | None) -> None:
        try:
            self._works[index or 0]()  # ctypes passes 0 as None
        except BaseException as error:
            self._library.pretend_fault(LAUNCH_FAILED, f"{type(error).__name__}: {error}".encode())
