"""Draws dropout and z on a GPU, where they are used: runtime/noise.py's words, by the kernels of kernels/noise.cu."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BackendError
from ...noise import WORDS_PER_BLOCK, Noise
from .device import Gpu
from .nvrtc import CubinCache, kernel_source
from .slots import Slots
from .stream import CudaStream, DeviceArray

THREADS = 256  # threads per block
Z_TOLERANCE = 1e-6  # error of z, whose float32 numbers reach 8.6


class NoiseWarning(UserWarning):
    """Noise is drawn on the host and copied: slower, same speech."""


class NoiseKernels:
    """The compiled kernels on one GPU."""

    def __init__(self, index: int, cubin: bytes) -> None:
        from cuda.core import Device, ObjectCode

        self.cubin = cubin
        Device(index).set_current()
        code = ObjectCode.from_cubin(cubin)
        self._kernels = {name: code.get_kernel(name) for name in ("draw_dropout", "draw_z")}

    def launch(self, name: str, stream: CudaStream, grid: tuple[int, ...], *arguments: Any) -> None:
        """Enqueue a kernel by name. arguments: addresses as int, numbers as NumPy scalars."""
        from cuda.core import LaunchConfig

        stream.launch(LaunchConfig(grid=grid, block=THREADS), self._kernels[name], *arguments)


class DeviceNoise:
    """Draws the noise of utterances into a GPU's memory, in the order of its stream."""

    def __init__(self, stream: CudaStream, kernels: NoiseKernels) -> None:
        self._stream, self._kernels = stream, kernels

    @property
    def cubin(self) -> bytes:
        """The compiled kernels."""
        return self._kernels.cubin

    def on(self, stream: CudaStream) -> DeviceNoise:
        """Draw with the same kernels on a different stream."""
        return DeviceNoise(stream, self._kernels)

    def draw_dropout(self, slots: Slots, items: DeviceArray) -> None:
        """Dropout of a step in each slot, float32 [B, layers, width].

        items: uint64 [B, 3], each one's seed, utterance and first step.
        """
        batch, *layers = slots.shape
        units = math.prod(layers)
        self._kernels.launch(
            "draw_dropout",
            self._stream,
            (_blocks(units), batch, slots.count),
            slots.memory.address,
            np.uint64(slots.pitch // slots.dtype.itemsize),
            items.address,
            np.int32(units),
        )

    def draw_z(self, z: DeviceArray, noise: Noise, first_group: int, sigma: float) -> None:
        """Draw z, float32 [1, group_size, groups]: what `noise.z` draws from that group on, times sigma."""
        _, group_size, groups = z.shape
        seed, utterance = noise.key
        self._kernels.launch(
            "draw_z",
            self._stream,
            (_blocks(groups), -(-group_size // WORDS_PER_BLOCK), 1),
            z.address,
            np.uint64(seed),
            np.uint64(utterance),
            np.int32(first_group),
            np.int32(groups),
            np.int32(group_size),
            np.float32(sigma),
        )

    def check(self) -> None:
        """Compare a few numbers with the host's. Raises BackendError."""
        noise, first, stream = Noise(2**64 - 1, 3), 1000, self._stream
        z, slots = stream.empty((1, 6, 300), np.float32), Slots(stream, 2, (1, 2, 150), np.float32)
        items, (block, dropout) = stream.empty((1, 3), np.uint64), slots.pinned()
        drawn = np.empty(z.shape, z.dtype)
        stream.upload(items, np.array([*noise.key, first], np.uint64))
        self.draw_z(z, noise, first, 1.0)
        self.draw_dropout(slots, items)
        stream.download(drawn, z)
        stream.download(block, slots.memory)
        stream.record().wait()
        error = float(np.abs(drawn[0] - noise.z(first, 300, 6)).max())
        if not error <= Z_TOLERANCE:  # NaN too
            raise BackendError(f"z differs from the host's by {error:.1e}")
        if not np.array_equal(dropout[:, 0], noise.prenet_dropout(first, 2, 2, 150)):
            raise BackendError("dropout differs from the host's")


def _blocks(threads: int) -> int:
    return -(-threads // THREADS)


def open_device_noise(stream: CudaStream, gpu: Gpu, engines: Path) -> DeviceNoise | None:
    """None, with a warning, where the kernels cannot be compiled or do not draw what the host draws.

    engines: folder of the engine cache, in which the compiled kernels are kept.
    """
    try:
        cache = CubinCache(engines / "kernels", gpu.compute_capability)
        cubin = cache.get_or_compile("noise", kernel_source("noise.cu"))
        device_noise = DeviceNoise(stream, NoiseKernels(gpu.index, cubin))
        device_noise.check()
    except Exception as error:  # those of the driver, of cuda-core and of NVRTC share no base class
        reason = " ".join(str(error).split())
        warnings.warn(f"noise is drawn on the host: {reason} (slower, same speech)", NoiseWarning, stacklevel=2)
        return None
    return device_noise
