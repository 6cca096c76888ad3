"""Compiles fused_decoder.cu for a plan with NVRTC, keeps the cubins, and launches them through cuda-core."""

from __future__ import annotations

import functools
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ....errors import BackendError, one_line
from ....files import replace_file
from ..driver import install_command
from ..stream import CudaStream
from .plan import GpuLimits, Plan

Exchange = Literal["tagged", "barrier"]
EXCHANGES: tuple[Exchange, ...] = ("tagged", "barrier")  # fastest first
SOURCE = Path(__file__).resolve().parents[1] / "fused_decoder.cu"
SMALLEST_CAPABILITY = (8, 0)  # relaxed loads and stores of GPU scope, mma.m16n8k16, and 164 KB of shared memory


class Kernel(Protocol):
    def launch(self, stream: CudaStream, *arguments: Any) -> None: ...


def cubin_folder(engines: Path) -> Path:
    """Where cubins and verdicts are kept, in the folder of the engine cache."""
    return engines / "fused"


@functools.cache
def source_sha256() -> str:
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


@dataclass(frozen=True)
class CubinCache:
    """Cubins in a folder, each after the SHA-256 of itself; one that is damaged or missing is compiled again."""

    folder: Path
    capability: tuple[int, int]

    def get_or_compile(self, plan: Plan, exchange: Exchange) -> bytes:
        """Raises BackendError if NVRTC is not installed or fails."""
        header = f"{plan.header}#define GRID_BARRIERS {int(exchange == 'barrier')}\n"
        arch = "sm_{}{}".format(*self.capability)
        key = hashlib.sha256("\0".join((source_sha256(), header, arch)).encode()).hexdigest()[:16]
        path = self.folder / f"{arch}-batch{plan.batch}-tokens{plan.tokens}-{exchange}-{key}.cubin"
        with suppress(OSError):
            digest, cubin = path.read_bytes()[:32], path.read_bytes()[32:]
            if hashlib.sha256(cubin).digest() == digest:
                return cubin
        cubin = compile_cubin(header + SOURCE.read_text(encoding="utf-8"), arch)
        with suppress(OSError):  # a cache that cannot be written costs seconds at the next start
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, hashlib.sha256(cubin).digest() + cubin)
        return cubin


def compile_cubin(source: str, arch: str) -> bytes:
    """arch: such as sm_90. Runs without a GPU or a driver."""
    try:
        from cuda.core import Program, ProgramOptions

        program = Program(source, "c++", ProgramOptions(std="c++17", arch=arch))
        return bytes(program.compile("cubin").code)
    except Exception as error:  # a missing library, NVRTC's errors and cuda-core's share no base class
        reason = one_line(error)[:300]
        raise BackendError(
            f"the fused decoder cannot be compiled for {arch}: {reason} ({install_command()} brings NVRTC); "
            "use --decoder engine"
        ) from error


def gpu_limits(index: int) -> GpuLimits:
    """What a plan must fit into on this GPU. Raises BackendError if it cannot run the kernel at all."""
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

        self._index = index
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
        from cuda.core import Device, Stream, launch

        Device(self._index).set_current()
        launch(Stream.from_handle(stream.handle), self._config, self._kernel, *arguments)
