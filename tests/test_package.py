"""The package's own face: its lazy names, and `python -m tacoglow`."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tacoglow
from tacoglow.cli.shared import version


def test_names_are_the_modules_own() -> None:
    for name, module in (
        ("Audio", "output.audio"),
        ("Scheduler", "scheduling.scheduler"),
        ("SchedulerLimits", "scheduling.scheduler"),
        ("SpeechHandle", "scheduling.handle"),
        ("SpeechOptions", "options"),
        ("StreamOptions", "options"),
        ("Synthesizer", "synthesizer"),
    ):
        assert getattr(tacoglow, name) is getattr(import_module(f"tacoglow.runtime.{module}"), name)
    assert set(tacoglow.__all__) <= set(dir(tacoglow))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = tacoglow.Nothing


def test_python_m_and_the_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tacoglow", "--version"], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert re.fullmatch(rf"tacoglow {re.escape(tacoglow.__version__)}( \(commit [0-9a-f]{{12}}\))?", first)
    assert second.startswith("backends: onnxruntime")
    monkeypatch.setattr(version, "ORIGIN", tmp_path / "origin.json")
    version.ORIGIN.write_text('{"commit": "0123456789abcdef0123456789abcdef01234567", "repository": ""}')
    assert version.describe_version().startswith(f"tacoglow {tacoglow.__version__} (commit 0123456789ab)\n")
    monkeypatch.setattr("tacoglow.runtime.backends.BACKENDS", {})
    assert version.describe_version().endswith("\nbackends: none: see tacoglow doctor")
