"""Runs every fuzz target for a short while; `make fuzz` runs them for an hour."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tacoglow.tests.robustness import fuzz
from tacoglow.tests.robustness.conftest import Tried

SEEDS = Path(__file__).parent / "hostile_pickles"
QUICK, LONG = 100, 20_000  # cases of each target


@pytest.mark.parametrize("cases", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_drawn_cases_have_no_fault(target: str, cases: int, tried: Tried) -> None:
    """In a process of its own: its limits on memory concern the whole process, and a fault could hang it."""
    program = ["-m", "tacoglow.tests.robustness.fuzz", target, "--cases", str(cases)]
    done = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert f"tried {cases:,} {target}" in done.stdout
    for _ in range(cases):
        tried(f"drawn {target}")


@pytest.mark.parametrize("runs", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_coverage_guided_fuzzing_finds_nothing(tmp_path: Path, tried: Tried, runs: int) -> None:
    """atheris keeps the inputs that reach new code, and mutates them further. Skipped if it is not installed."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install tacoglow[fuzz]")
    limits = [f"-atheris_runs={runs}", "-timeout=10", "-rss_limit_mb=4096", "-seed=1", "-artifact_prefix=./"]
    program = ["-m", "tacoglow.tests.robustness.fuzz", "pickles", "--atheris", *limits, str(tmp_path), str(SEEDS)]
    done = subprocess.run(
        [sys.executable, *program], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for _ in range(runs):
        tried("coverage-guided pickles")
