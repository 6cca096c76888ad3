"""The kernels in kernels/: compiled with NVRTC, and kept as cubins."""

from __future__ import annotations

import functools
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import BackendError, one_line
from ...files import replace_file
from .driver import install_command

KERNELS = Path(__file__).resolve().parent / "kernels"
_INCLUDE = re.compile(r'^#include "(.+)"\n|^#pragma once\n', re.MULTILINE)


@functools.cache
def kernel_source(name: str) -> str:
    """Return the text that NVRTC compiles: a kernel's file and the headers that it includes, each once."""
    seen: set[str] = set()

    def flat(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (KERNELS / name).read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda line: flat(line[1]) if line[1] else "", text)

    return flat(name)


@dataclass(frozen=True)
class CubinCache:
    """Cubins in a folder, each after the SHA-256 of itself; one that is damaged or missing is compiled again."""

    folder: Path
    capability: tuple[int, int]

    def get_or_compile(self, name: str, source: str) -> bytes:
        """Return the cubin of a source. name: begins the file's name. Raises BackendError if NVRTC fails."""
        arch = "sm_{}{}".format(*self.capability)
        key = hashlib.sha256("\0".join((source, arch)).encode()).hexdigest()[:16]
        path = self.folder / f"{arch}-{name}-{key}.cubin"
        with suppress(OSError):
            digest, cubin = path.read_bytes()[:32], path.read_bytes()[32:]
            if hashlib.sha256(cubin).digest() == digest:
                return cubin
        cubin = compile_cubin(source, arch)
        with suppress(OSError):  # a cache that cannot be written costs seconds at the next start
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, hashlib.sha256(cubin).digest() + cubin)
        return cubin


def compile_cubin(source: str, arch: str) -> bytes:
    """Compile a kernel. arch: such as sm_90. Runs without a GPU or a driver. Raises BackendError."""
    try:
        from cuda.core import Program, ProgramOptions

        program = Program(source, "c++", ProgramOptions(std="c++17", arch=arch))
        return bytes(program.compile("cubin").code)
    except Exception as error:  # a missing library, NVRTC's errors and cuda-core's share no base class
        reason = one_line(error)[:300]
        raise BackendError(f"NVRTC cannot compile for {arch}: {reason} ({install_command()} brings NVRTC)") from error
