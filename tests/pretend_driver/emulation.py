"""Kernels compiled for this machine's CPU, in the place of NVRTC: the pretended driver runs them by name."""

from __future__ import annotations

from pathlib import Path

from .compiling import build_library

HERE = Path(__file__).resolve().parent
CUDA = HERE.parent / "runtime" / "backends" / "cuda"
FLAGS = "-std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas -shared -fPIC".split()
NOISE_FLAGS = [*FLAGS, "-O2", "-Wno-parentheses"]
FUSED_FLAGS = [*FLAGS, "-mavx2", "-mfma", "-mf16c"]


def compile_cubin(source: str, arch: str) -> bytes:
    """Compile a kernel as `nvrtc.compile_cubin` does, and return what the pretended driver loads in a cubin's place."""
    library = build_fused(source) if "fused_decoder" in source else build_noise(source)
    return str(library).encode() + b"\0"


def build_noise(source: str) -> Path:
    return _build("noise.so", {"noise.cu": source}, CUDA / "noise_on_host.cpp", NOISE_FLAGS)


def build_fused(source: str, optimize: str = "-O1") -> Path:
    """Build the fused decoder on the emulation of its threads. source: a plan's header and the kernel."""
    emulation = (CUDA / "fused" / "cuda_emulation.h").read_text()
    sources = {"fused_decoder.cu": source, "cuda_emulation.h": emulation}
    return _build("decoder.so", sources, CUDA / "fused" / "launch.cpp", [*FUSED_FLAGS, optimize])


def _build(name: str, sources: dict[str, str], launcher: Path, flags: list[str]) -> Path:
    texts = {**sources, "kernels.h": (HERE / "kernels.h").read_text(), launcher.name: launcher.read_text()}
    return build_library(name, texts, [*flags, launcher.name])
