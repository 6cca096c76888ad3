"""Compiles the TensorRT backend against the headers of every TensorRT version that is available, and of CUDA.

TENSORRT_INCLUDE lists folders with NvInfer.h, one per version; CUDA_INCLUDE lists folders with CUDA's headers.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "cpp"
SOURCES = [path for part in ("tensorrt", "fused", "cuda") for path in sorted((SOURCE / "src").glob(f"{part}_*.cpp"))]
VERSIONS = [Path(folder) for folder in os.environ.get("TENSORRT_INCLUDE", "").split(os.pathsep) if folder]
CUDA = [folder for folder in os.environ.get("CUDA_INCLUDE", "").split(os.pathsep) if folder]


@pytest.mark.skipif(not VERSIONS, reason="TENSORRT_INCLUDE does not list any headers")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("headers", VERSIONS, ids=str)
def test_compiles_without_warnings(headers: Path, source: Path) -> None:
    compile_against([str(headers), *CUDA], source)


@pytest.mark.skipif(not CUDA, reason="CUDA_INCLUDE does not list any headers")
def test_driver_functions_are_those_of_cuda() -> None:
    compile_against(CUDA, SOURCE / "checks" / "cuda_abi.cpp")


def compile_against(headers: list[str], source: Path) -> None:
    system = [argument for folder in headers for argument in ("-isystem", folder)]
    own = [f"-I{SOURCE / 'src'}", f"-I{SOURCE / 'include'}"]
    command = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *own, *system, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
