"""The fused decoder's kernel for a plan: its source, its cubin, and its launch on a GPU that can hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ....errors import BackendError
from ..nvrtc import CubinCache, kernel_source
from ..stream import CudaStream
from .plan import GpuLimits, Plan

Exchange = Literal["tagged", "barrier"]
EXCHANGES: tuple[Exchange, ...] = ("tagged", "barrier")  # barrier: slower by prediction, to be compared on a GPU
SMALLEST_CAPABILITY = (8, 0)  # relaxed loads and stores of GPU scope, mma.m16n8k16, and 164 KB of shared memory


def cubin_folder(engines: Path) -> Path:
    """Return the folder of compiled kernels, in the folder of the engine cache."""
    return engines / "fused"


def source() -> str:
    """Return the kernel's text, without the plan's header."""
    return kernel_source("fused_decoder.cu")


def compile_plan(cache: CubinCache, plan: Plan, exchange: Exchange) -> bytes:
    """Return the plan's cubin, compiled if it is not in the cache. Raises BackendError."""
    header = f"{plan.header}#define GRID_BARRIERS {int(exchange == 'barrier')}\n"
    try:
        return cache.get_or_compile(f"batch{plan.batch}-tokens{plan.tokens}-{exchange}", header + source())
    except BackendError as error:
        raise BackendError(f"the fused decoder: {error}; use --decoder engine") from error


def gpu_limits(index: int) -> GpuLimits:
    """Return the GPU's limits, which a plan must fit into. Raises BackendError if it cannot run the kernel at all."""
    from cuda.core import Device

    device = Device(index)
    device.set_current()
    properties, capability = device.properties, device.compute_capability
    if (capability.major, capability.minor) < SMALLEST_CAPABILITY or not properties.cooperative_launch:
        raise BackendError(
            f"the fused decoder needs compute capability 8.0 and cooperative launches; {device.name} has "
            f"{capability.major}.{capability.minor}; use --decoder engine"
        )
    return GpuLimits(properties.multiprocessor_count, properties.max_shared_memory_per_block_optin)


class FusedKernel:
    """A compiled plan on one GPU; all its blocks are known to be resident together."""

    def __init__(self, index: int, plan: Plan, cubin: bytes) -> None:
        from cuda.bindings import driver
        from cuda.core import Device, LaunchConfig, ObjectCode

        device = Device(index)
        device.set_current()
        self._kernel = ObjectCode.from_cubin(cubin).get_kernel("fused_decoder")
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        (status,) = driver.cuKernelSetAttribute(attribute, plan.shared_bytes, self._kernel.handle, index)
        each = 0
        if status == driver.CUresult.CUDA_SUCCESS:
            occupancy = self._kernel.occupancy
            each = int(occupancy.max_active_blocks_per_multiprocessor(plan.threads, plan.shared_bytes))
        resident = each * device.properties.multiprocessor_count
        if resident < plan.blocks:
            raise BackendError(
                f"decoder_step: the fused decoder needs {plan.blocks} blocks of {plan.threads} threads, "
                f"{self._kernel.attributes.num_regs} registers each and {plan.shared_bytes} bytes of shared memory "
                f"at once; {resident} fit on {device.name}; use --decoder engine"
            )
        self._config = LaunchConfig(
            grid=plan.blocks, block=plan.threads, shmem_size=plan.shared_bytes, is_cooperative=True
        )

    def launch(self, stream: CudaStream, *arguments: Any) -> None:
        """Enqueue the kernel. arguments: addresses as int, numbers as NumPy scalars, in the kernel's order."""
        stream.launch(self._config, self._kernel, *arguments)
