"""Writes compiled kernels for the C++ runtime, beside its plans: those that draw noise, and the fused decoder's.

kernels/kernels.json names the other files by SHA-256, and the GPU and driver that the kernels were compiled for.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ...bundle.manifest import Manifest
from ...files import replace_file
from .device import Gpu
from .driver import driver_version
from .fused.steps import FusedDecoder
from .noise import open_device_noise
from .stream import CudaStream

FORMAT_VERSION = 4  # version of the files and of the kernels' arguments, which C++ passes
FOLDER = "kernels"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the package, by name."""

    file: str
    sha256: str


class KernelFile(File, frozen=True, kw_only=True):
    """A kernel for up to `batch` items of up to `tokens` tokens; sizes as in a plan."""

    batch: int
    tokens: int
    blocks: int
    threads: int
    shared_bytes: int
    workspace_bytes: int


class FusedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The fused decoder."""

    graph_sha256: str  # of decoder_step
    decoder: str  # which one it is, in one line
    weights: File
    kernels: list[KernelFile]


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """The content of kernels.json."""

    format_version: int
    gpu: str
    compute_capability: tuple[int, int]
    driver: int  # CUDA version, as cuDriverGetVersion reports it
    noise: File | None
    fused: FusedFiles | None


def write_package(
    plans: Path, gpu: Gpu, engines: Path, manifest: Manifest, fused: FusedDecoder | None = None
) -> Path | None:
    """Write PLANS/kernels, in place of an earlier one; returns that folder.

    None, with a warning, without a fused decoder where noise cannot be drawn on the GPU. engines: folder of the engine
    cache. Raises BackendError if a kernel of the fused decoder cannot be compiled.
    """
    folder = plans / FOLDER
    remove_package(plans)
    noise = open_device_noise(CudaStream(gpu.index), gpu, engines)
    if noise is None and fused is None:
        return None
    folder.mkdir(parents=True)
    package = Package(
        format_version=FORMAT_VERSION,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=driver_version(),
        noise=None if noise is None else File(**_write(folder / "noise.cubin", noise.cubin)),
        fused=None if fused is None else _write_fused(folder, fused, manifest),
    )
    replace_file(folder / "kernels.json", msgspec.json.format(msgspec.json.encode(package), indent=1) + b"\n")
    return folder


def remove_package(plans: Path) -> None:
    """Remove PLANS/kernels, which would otherwise be taken for that of the present plans."""
    shutil.rmtree(plans / FOLDER, ignore_errors=True)


def _write_fused(folder: Path, decoder: FusedDecoder, manifest: Manifest) -> FusedFiles:
    return FusedFiles(
        graph_sha256=manifest.graphs["decoder_step"].sha256,
        decoder=f"fused, {decoder.exchange} exchange",
        weights=File(**_write(folder / "weights.bin", decoder.packed_weights().tobytes())),
        kernels=list(_write_kernels(folder, decoder, manifest)),
    )


def _write_kernels(folder: Path, decoder: FusedDecoder, manifest: Manifest) -> Iterator[KernelFile]:
    """Compile and write the kernels that requests within the bundle's limits run."""
    for plan in decoder.plans(manifest.range("B").max, manifest.range("T").max):
        yield KernelFile(
            batch=plan.batch,
            tokens=plan.tokens,
            blocks=plan.blocks,
            threads=plan.threads,
            shared_bytes=plan.shared_bytes,
            workspace_bytes=plan.workspace_bytes,
            **_write(folder / f"batch{plan.batch}-tokens{plan.tokens}.cubin", decoder.cubin(plan)),
        )


def _write(path: Path, content: bytes) -> dict[str, str]:
    replace_file(path, content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest()}
