"""The package's own face: its lazy names, and `python -m tacoglow`."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import tacoglow


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


def test_python_m() -> None:
    done = subprocess.run([sys.executable, "-m", "tacoglow", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tacoglow {tacoglow.__version__}\n"
