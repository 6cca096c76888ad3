"""The steps that ask what the machine is, and whether its streams and the noise kernels do what the host relies on."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import time

import numpy as np

from ...runtime.backends.cuda.device import device_memory, find_gpu
from ...runtime.backends.cuda.driver import driver_version
from ...runtime.backends.cuda.fused.kernel import gpu_limits
from ...runtime.backends.cuda.noise import Z_TOLERANCE, DeviceNoise, NoiseKernels
from ...runtime.backends.cuda.nvrtc import CubinCache, kernel_source
from ...runtime.backends.cuda.slots import Slots
from ...runtime.backends.cuda.stream import CaptureError, CudaStream
from ...runtime.backends.tensorrt.cache import default_folder
from ...runtime.backends.tensorrt.versions import load_tensorrt
from ...runtime.installed import installed_version
from ...runtime.noise import Noise
from .figures import Context, Figures, milliseconds

# Modules without which later steps fail, and the packages that bring them.
NEEDED = {
    "numpy": "numpy",
    "msgspec": "msgspec",
    "unidecode": "unidecode",
    "inflect": "inflect",
    "filelock": "filelock",
    "platformdirs": "platformdirs",
    "rich": "rich",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "cuda.core": "cuda-core",
    "cuda.bindings": "cuda-bindings",
}
NEEDED_HERE = {"facts": {"torch": "torch"}, "facts-tensorrt": {"pytest": "pytest"}}
QUERY = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,memory.total,power.limit"
KEYS = (Noise(0), Noise(2**64 - 1, 3), Noise(12345, 7 << 32))


def facts(context: Context, figures: Figures) -> None:
    """Report GPU, driver and versions. Fails with the names of what is not installed."""
    figures["python"] = platform.python_version()
    missing = []
    for module, package in (NEEDED | NEEDED_HERE[context.name]).items():
        if _is_installed(module):
            figures[package] = installed_version(package) or "unknown"  # if unpacked into a folder
        else:
            missing.append(package)
    assert not missing, f"not installed: {', '.join(missing)}"
    if context.name == "facts-tensorrt":
        figures["tensorrt"] = load_tensorrt("tensorrt").version
    gpu, limits, memory = find_gpu(0), gpu_limits(0), device_memory(0)
    figures["gpu"] = {"name": gpu.name, "compute_capability": gpu.compute_capability, **vars(limits), **vars(memory)}
    figures["driver_cuda"] = driver_version()
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        figures["nvidia_smi"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def stream(context: Context, figures: Figures) -> None:
    """Copy, zero, and launch a captured graph twice."""
    queue = CudaStream(0)
    sent, received = queue.pinned((1000,), np.float32), queue.pinned((1000,), np.float32)
    sent[:] = np.arange(1000)
    first, second = queue.empty((1000,), np.float32), queue.empty((1000,), np.float32)

    def copy() -> None:
        queue.upload(first, sent)
        queue.download(received, first)

    copy()
    queue.record().wait()
    np.testing.assert_array_equal(received, sent)
    launch = queue.capture(copy)
    for factor in (2.0, 3.0):
        sent[:] = factor * np.arange(1000)
        launch()
        queue.record().wait()
        np.testing.assert_array_equal(received, sent)
    queue.zero(second)
    queue.download(received, second)
    queue.record().wait()
    assert not received.any()
    figures["graph_of_two_copies_ms"] = milliseconds(queue, launch, context.sizes.repeats)
    begin = time.perf_counter()
    for _ in range(1000):
        launch()
    figures["host_us_a_graph_launch"] = round((time.perf_counter() - begin) * 1e3, 2)
    queue.record().wait()


def invalid_capture(context: Context, figures: Figures) -> None:
    """Check that a forbidden call in a capture raises CaptureError, and that the stream goes on working."""
    queue = CudaStream(0)
    array = queue.empty((4,), np.float32)

    def forbidden() -> None:
        queue.zero(array)
        queue.record().wait()  # waiting for work that is only recorded makes the capture invalid

    try:
        queue.capture(forbidden)
    except CaptureError as error:
        figures["reason"] = str(error)
    else:
        raise AssertionError("the capture was not invalidated")
    received = queue.pinned((4,), np.float32)
    received[:] = 1.0
    queue.zero(array)
    queue.download(received, array)
    queue.record().wait()
    assert not received.any()
    launch = queue.capture(lambda: queue.zero(array))
    launch()
    queue.record().wait()


def noise(context: Context, figures: Figures) -> None:
    """Compare what the kernels draw with what the host draws: dropout bit for bit, z within its tolerance."""
    queue, gpu = CudaStream(0), find_gpu(0)
    begin = time.perf_counter()
    cache = CubinCache(default_folder() / "kernels", gpu.compute_capability)
    cubin = cache.get_or_compile("noise", kernel_source("noise.cu"))
    figures["compile_seconds"] = round(time.perf_counter() - begin, 3)
    drawer = DeviceNoise(queue, NoiseKernels(gpu.index, cubin))
    frames = context.sizes.frames
    slots, items = Slots(queue, 16, (len(KEYS), 2, 256), np.float32), queue.empty((len(KEYS), 3), np.uint64)
    block, dropout = slots.pinned()
    for first in (0, 1, 2**20):
        queue.upload(items, np.array([(*one.key, first) for one in KEYS], np.uint64))
        drawer.draw_dropout(slots, items)
        queue.download(block, slots.memory)
        queue.record().wait()
        for i, one in enumerate(KEYS):
            np.testing.assert_array_equal(dropout[:, i], one.prenet_dropout(first, 16, 2, 256))
    figures["dropout_is_exact"] = True
    z = queue.empty((1, 8, 32 * frames), np.float32)
    drawn, errors = np.empty(z.shape, z.dtype), []
    for one in KEYS:
        for first in (0, 12345):
            drawer.draw_z(z, one, first, 0.6)
            queue.download(drawn, z)
            queue.record().wait()
            errors.append(float(np.abs(drawn[0] - np.float32(0.6) * one.z(first, 32 * frames, 8)).max()))
    figures["z_largest_error"] = max(errors)
    repeats = context.sizes.repeats
    figures["z_ms"] = milliseconds(queue, lambda: drawer.draw_z(z, KEYS[0], 0, 0.6), repeats)
    figures["dropout_ms"] = milliseconds(queue, lambda: drawer.draw_dropout(slots, items), repeats)
    assert max(errors) <= Z_TOLERANCE, errors
