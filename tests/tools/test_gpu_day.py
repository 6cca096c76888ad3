"""The day on a GPU machine, as far as a machine without one can try it: its steps, its time boxes, its summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tacoglow.tests.test_install import ROOT
from tacoglow.tools.gpu import day
from tacoglow.tools.gpu.day import Step, plan, run

DAY = ROOT / "tools" / "gpu" / "day.py"


def test_day_goes_on_after_a_failure_and_sums_up(tmp_path: Path) -> None:
    command = [sys.executable, str(DAY), "--out", "day", "--only", "doctor", "stream", "invalid-capture"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    summary = json.loads((tmp_path / "day" / "summary.json").read_text())
    statuses = {entry["name"]: entry["status"] for entry in summary}
    assert list(statuses) == ["doctor", "stream", "invalid-capture"]
    assert statuses["doctor"] == "passed"
    assert "engine cache: " in (tmp_path / "day" / "doctor.log").read_text()
    is_on_gpu = statuses["stream"] == "passed"
    assert done.returncode == (0 if is_on_gpu and statuses["invalid-capture"] == "passed" else 1)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(statuses)


def test_step_that_needs_a_failed_one_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        Step("failing", 60, ["-c", "raise SystemExit(3)"]),
        Step("needy", 60, ["-c", "raise SystemExit(0)"], ("failing",)),
        Step("free", 60, ["-c", "print('done')"]),
    ]
    monkeypatch.setattr(day, "plan", lambda out: steps)
    monkeypatch.setattr(sys, "argv", ["day.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        day.main()
    assert end.value.code
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [(entry["name"], entry["status"], entry["line"]) for entry in summary] == [
        ("failing", "failed (3)", ""),
        ("needy", "skipped", "needs failing"),
        ("free", "passed", "done"),
    ]


def test_steps_need_only_steps_of_the_plan(tmp_path: Path) -> None:
    steps = {step.name: step for step in plan(tmp_path)}
    assert "engines" in steps["layers"].needs
    assert "nvidia-engines" in steps["fused"].needs
    for step in steps.values():
        assert set(step.needs) <= set(steps)
        assert step.seconds > 0


def test_step_beyond_its_time_box_is_ended(tmp_path: Path) -> None:
    slow = Step("slow", 1, ["-c", "import time; print('begun', flush=True); time.sleep(60)"])
    outcome = run(slow, sys.executable, tmp_path, {}, limit=100.0)
    assert (outcome.status, outcome.line) == ("timed out", "begun")
    assert outcome.seconds < 30
