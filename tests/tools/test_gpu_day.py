"""The day on a GPU machine without one: its table, its runner, its archive, and how single steps fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tacoglow.runtime.backends.tensorrt.engine_key import BuildOptions, EngineKey, Target
from tacoglow.runtime.backends.tensorrt.versions import load_tensorrt, tensorrt_unavailable_reason
from tacoglow.runtime.bundle.manifest import GraphSpec
from tacoglow.tests.test_install import ROOT
from tacoglow.tools.gpu import correctness, device, fused
from tacoglow.tools.gpu.day import KEPT_BYTES, MINUTES, STEPS, Pythons, Step, link_package, pack, run
from tacoglow.tools.gpu.figures import REHEARSAL, Context, Figures
from tacoglow.tools.gpu.steps import MODULES

DAY = ROOT / "tools" / "gpu" / "day.py"
LEASE_MINUTES = 14  # with starting the machine, sending TensorRT there and unpacking it, which take three
CALL_MINUTES = 10  # the longest command there

# Stands for a Python that runs steps: what it does depends on the step's name, after which it leaves a figure.
ACTOR = """
import os, pathlib, subprocess, sys, time
name = sys.argv[sys.argv.index("--name") + 1]
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
if name in os.environ.get("FAILING", "").split():
    raise SystemExit(f"{name} fails")
(out / f"{name}.json").write_text("{}")
print(name, "is done")
"""


def actor(tmp_path: Path) -> str:
    path = tmp_path / "actor.py"
    path.write_text(ACTOR)
    return f"{sys.executable} {path}"


def run_day(tmp_path: Path, *options: str, failing: str = "") -> tuple[int, dict[str, str], list[str]]:
    """Run a day whose steps are the actor's: exit code, statuses, and the names in the archive."""
    python = actor(tmp_path)
    command = [sys.executable, str(DAY), "--out", "day", "--torch-python", python, "--trt-python", python, *options]
    environment = os.environ | {"FAILING": failing}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    summary = json.loads((tmp_path / "day" / "summary.json").read_text())
    assert [line.split()[0] for line in done.stdout.splitlines()] == [entry["name"] for entry in summary]
    (archive,) = (tmp_path / "day").glob("day-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    return done.returncode, {entry["name"]: entry["status"] for entry in summary}, names


def test_the_day_fits_a_lease() -> None:
    assert sum(step.box for step in STEPS) == 60 * MINUTES
    assert MINUTES <= LEASE_MINUTES - 3
    for part in ("a", "b"):
        assert sum(step.box for step in STEPS if step.part == part) < 60 * CALL_MINUTES


def test_the_table() -> None:
    done: set[str] = set()
    for step in STEPS:
        assert step.name not in done
        assert set(step.needs) <= done, f"{step.name} comes before what it needs"
        assert step.arguments[0] in MODULES
        done.add(step.name)
    assert {step.arguments[0] for step in STEPS} == set(MODULES)
    assert not any(step.on_tensorrt for step in STEPS if step.part == "a")
    assert [step.part for step in STEPS] == sorted(step.part for step in STEPS)


def test_a_failure_costs_only_what_needs_it(tmp_path: Path) -> None:
    code, statuses, names = run_day(tmp_path, failing="engines fused-nvidia")
    assert code == 1
    assert statuses.pop("engines") == statuses.pop("fused-nvidia") == "failed (1)"
    skipped = {name for name, status in statuses.items() if status == "skipped"}
    assert skipped == {"frames", "vocoder-engine", "samples", "totals", "accuracy"}
    assert {status for name, status in statuses.items() if name not in skipped} == {"passed"}
    assert {f"{name}.json" for name in statuses if name not in skipped} <= set(names)
    assert {"summary.json", "engines.log"} <= set(names)


def test_a_day_of_skipped_steps_has_failed(tmp_path: Path) -> None:
    code, statuses, _ = run_day(tmp_path, "--minutes", "0")
    assert set(statuses.values()) == {"skipped"}
    assert code == 1


def test_parts_and_single_steps(tmp_path: Path) -> None:
    code, statuses, _ = run_day(tmp_path, "--part", "b", "--only", "frames", "cpp")
    assert (code, statuses) == (0, {"frames": "passed", "cpp": "passed"})


@pytest.mark.full
def test_a_step_beyond_its_time_box_is_ended_with_its_children(tmp_path: Path) -> None:
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    slow = f"import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    outcome = run(Step("slow", "a", 1, ()), tmp_path, [sys.executable, "-c", slow], os.environ, limit=100.0)
    assert (outcome.status, outcome.line) == ("timed out", "begun")
    leaving = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    outcome = run(Step("quick", "a", 20, ()), tmp_path, [sys.executable, "-c", leaving], os.environ, limit=100.0)
    assert outcome.status == "passed"
    time.sleep(4)
    assert not (tmp_path / "late").exists()


def test_one_pythons_home_is_not_set_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PYTHONHOME of a Python of another version, one ends before its first line."""
    home = tmp_path / "python"
    monkeypatch.setenv("PYTHONHOME", str(home))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{home / 'lib'}{os.pathsep}/usr/local/cuda/lib64")
    other = [sys.executable, "-s"]
    pythons, package = Pythons(torch=other), link_package(tmp_path / "day")
    environments = {step.on_tensorrt: pythons.environment(step, package) for step in STEPS}
    assert environments[True]["PYTHONHOME"] == str(home)  # that of the Python which runs the day itself
    assert environments[False]["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    command = [*other, "-c", "print('alive')"]
    outcome = run(Step("x", "a", 20, ()), tmp_path, command, environments[False], limit=100.0)
    assert (outcome.status, outcome.line) == ("passed", "alive")


def test_cmake_is_run_without_the_home_of_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's cmake is a Python program; and a GPU machine may have neither ONNX Runtime's headers nor Expat."""
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    seen: list[tuple[list[str], dict[str, str]]] = []

    def record(command: list[str], check: bool, env: dict[str, str]) -> None:
        seen.append((command, env))
        if command[1] == "--build":
            raise InterruptedError

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(correctness, "load_manifest", lambda bundle: None)
    with pytest.raises(InterruptedError):
        correctness.cpp(Context("cpp", tmp_path, REHEARSAL), Figures(tmp_path / "cpp.json"))
    assert len(seen) == 2
    assert all("PYTHONHOME" not in environment for _, environment in seen)
    assert {"-DTACOGLOW_TENSORRT=ON", "-DTACOGLOW_ONNXRUNTIME=OFF", "-DTACOGLOW_SSML=OFF"} <= set(seen[0][0])


def test_the_archive_is_small_and_has_the_ends_of_logs(tmp_path: Path) -> None:
    for step in STEPS:
        (tmp_path / f"{step.name}.log").write_bytes(os.urandom(2 * KEPT_BYTES) + b"the end")
        (tmp_path / f"{step.name}.json").write_text("{}")
    archive = tmp_path / "day-ab.tar.gz"
    pack(tmp_path, archive)
    assert archive.stat().st_size < 16 << 20
    with tarfile.open(archive) as tar:
        file = tar.extractfile("graphs.log")
        assert file is not None
        assert file.read().endswith(b"the end")


def test_figures_are_on_disk_at_once(tmp_path: Path) -> None:
    figures = Figures(tmp_path / "step.json")
    figures["first"] = 1.5
    assert json.loads((tmp_path / "step.json").read_text()) == {"first": 1.5}
    figures["second"] = {"ms": 2}
    assert json.loads((tmp_path / "step.json").read_text()) == {"first": 1.5, "second": {"ms": 2}}


def test_facts_name_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "NEEDED", {"numpy": "numpy", "no_such_module": "no-such-package"})
    monkeypatch.setitem(device.NEEDED_HERE, "facts", {"numpy.nor_this": "other"})
    figures = Figures(tmp_path / "facts.json")
    with pytest.raises(AssertionError, match="not installed: no-such-package, other"):
        device.facts(Context("facts", tmp_path, REHEARSAL), figures)
    assert figures["numpy"]


def test_a_kernel_is_judged_by_what_rounding_costs() -> None:
    assert fused.is_right(5e-3, rounding=3e-3)
    assert not fused.is_right(5e-3, rounding=1e-3)
    assert fused.is_right(9e-4, rounding=0.0)
    assert not fused.is_right(float("nan"), rounding=1.0)


def test_a_kernel_is_judged_by_the_engine() -> None:
    engine = {"mel": 6e-3, "gate_logits": 1e-4}
    assert correctness.worse_than({"mel": 6e-3, "gate_logits": 9e-4}, engine) == []
    assert correctness.worse_than({"mel": 7e-3, "gate_logits": float("nan")}, engine) == ["mel", "gate_logits"]


@pytest.mark.skipif(tensorrt_unavailable_reason("tensorrt-rtx") is not None, reason="TensorRT-RTX is not installed")
def test_engines_of_the_day_name_their_layers_precisions() -> None:
    """By default an engine keeps its layers' names alone, and every count of half precision is 0."""
    from tacoglow.tools.gpu.engines import DetailedBuilder

    key = EngineKey(
        graph="postnet",
        graph_sha256="",
        precision="fp16",
        tensorrt="tensorrt-rtx",
        tensorrt_version="1",
        target=Target(gpu="", compute_capability=(8, 9)),
        profile={},
        options=BuildOptions(),
    )
    tensorrt = load_tensorrt("tensorrt-rtx")
    config = DetailedBuilder(tensorrt)._config(GraphSpec(file="", sha256="", inputs=(), outputs=()), key)
    assert config.profiling_verbosity == tensorrt.module.ProfilingVerbosity.DETAILED


@pytest.mark.full
def test_tests_that_are_all_skipped_are_a_failure(tmp_path: Path, tiny_bundle: Path) -> None:
    """As on a machine whose TensorRT cannot be imported."""
    bundle = tmp_path / "bundles" / "demo-fp16"
    bundle.parent.mkdir()
    bundle.symlink_to(tiny_bundle)
    program = f"""
import pathlib
from tacoglow.tools.gpu import correctness, figures
correctness.build = lambda *arguments: None
out = pathlib.Path({str(tmp_path)!r})
correctness.graphs(figures.Context("graphs", out, figures.REHEARSAL, "demo"), figures.Figures(out / "graphs.json"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1
    assert "AssertionError: no test ran: all were skipped" in done.stderr
    assert json.loads((tmp_path / "graphs.json").read_text())["counts"]["skipped"] > 10
