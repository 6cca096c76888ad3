"""fused_decoder.cu compiles for every architecture at NVIDIA's dimensions, within its registers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tacoglow.runtime.backends.cuda.fused.kernel import compile_plan, source
from tacoglow.runtime.backends.cuda.fused.plan import GpuLimits, Plan, make_plan
from tacoglow.runtime.backends.cuda.nvrtc import KERNELS, CubinCache, compile_cubin
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.pretend_driver.driver import has_nvrtc

from .model import NVIDIA, random_weights

GPUS = {  # multiprocessors, and shared memory that a block may have
    "sm_80": GpuLimits(108, 163 << 10),  # A100
    "sm_89": GpuLimits(142, 99 << 10),  # L40S
    "sm_90": GpuLimits(132, 227 << 10),  # H100 SXM
    "sm_120": GpuLimits(170, 99 << 10),  # RTX 5090
}
MAX_REGISTERS = 128  # of a thread: 512 threads share 65,536
MAX_SPILLED = {"sm_80": 192}  # bytes of a thread: nvcc 13.0 spills 20 and 136 there, and at most 48 elsewhere
MAX_SPILLED_WHERE_FAST = 63

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed (pip install 'cuda-core[cu13]')")


def plan_for(arch: str, batch: int) -> Plan:
    return make_plan(random_weights(NVIDIA), GPUS[arch], batch, 256)


@pytest.mark.builds
@needs_nvcc
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("arch", GPUS)
def test_registers_and_spills(arch: str, batch: int, tmp_path: Path) -> None:
    (tmp_path / "plan.h").write_text(plan_for(arch, batch).header)
    command = ["nvcc", f"-arch={arch}", "-std=c++17", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings"]
    command += ["-include", "plan.h", "-o", "decoder.cubin", str(KERNELS / "fused_decoder.cu")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (registers,) = re.findall(r"Used (\d+) registers", done.stderr)
    (spilled,) = re.findall(r"(\d+) bytes spill stores", done.stderr)
    assert int(registers) <= MAX_REGISTERS
    assert int(spilled) <= MAX_SPILLED.get(arch, MAX_SPILLED_WHERE_FAST)


def test_an_h100_holds_all_weights_of_one_item_on_the_chip() -> None:
    assert plan_for("sm_90", 1).streamed_bytes == 0
    assert plan_for("sm_90", 1).blocks == 128
    for arch, gpu in GPUS.items():
        for batch in (1, 8):
            assert plan_for(arch, batch).shared_bytes <= gpu.shared_bytes


def test_a_request_that_does_not_fit_names_the_way_out() -> None:
    with pytest.raises(BackendError, match=r"batch of 8 with 100000 tokens.*--decoder engine"):
        make_plan(random_weights(NVIDIA), GPUS["sm_90"], 8, 100_000)


@needs_nvrtc
@pytest.mark.parametrize("arch", GPUS)
def test_nvrtc_compiles_it(arch: str) -> None:
    assert compile_cubin(plan_for(arch, 1).header + source(), arch).startswith(b"\x7fELF")


def test_cubins_are_kept_and_a_damaged_one_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compile_once(source: str, arch: str) -> bytes:
        compiled.append(arch)
        return b"cubin of " + source[:100].encode()

    monkeypatch.setattr("tacoglow.runtime.backends.cuda.nvrtc.compile_cubin", compile_once)
    cache, plan = CubinCache(tmp_path / "fused", (9, 0)), plan_for("sm_90", 1)
    first = compile_plan(cache, plan, "tagged")
    assert compile_plan(cache, plan, "tagged") == first
    assert compiled == ["sm_90"]
    compile_plan(cache, plan, "barrier")
    compile_plan(cache, plan_for("sm_90", 2), "tagged")
    compile_plan(CubinCache(tmp_path / "fused", (8, 0)), plan, "tagged")
    assert compiled == ["sm_90", "sm_90", "sm_90", "sm_80"]
    (path,) = (tmp_path / "fused").glob("sm_90-batch1-tokens256-tagged-*.cubin")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert compile_plan(cache, plan, "tagged") == first
    assert len(compiled) == 5


def test_without_nvrtc_the_error_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cuda.core", None)
    with pytest.raises(BackendError, match=r"pip install 'tacoglow\[gpu-cu1[23]\]'.*--decoder engine"):
        compile_plan(CubinCache(tmp_path, (9, 0)), plan_for("sm_90", 1), "tagged")
