"""`--demo`: the bundle of the package tacoglow-demo-voice, wherever that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TRT_INFER


@pytest.fixture
def site(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder as site-packages, with the tiny voice in the demo voice's place."""
    shutil.copytree(tiny_bundle, tmp_path / "site" / "tacoglow_demo_voice" / "bundle")
    return tmp_path / "site"


def infer(folder: Path, site: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = [str(site)] if site else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", TRT_INFER, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_demo_is_a_bundle(site: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    done = infer(tmp_path, site, "--demo", "Hello.", "-o", "demo.wav")
    assert done.returncode == 0, done.stderr
    assert infer(tmp_path, None, str(tiny_bundle), "Hello.", "-o", "named.wav").returncode == 0
    assert (tmp_path / "demo.wav").read_bytes() == (tmp_path / "named.wav").read_bytes()
    (tmp_path / "list.txt").write_text("Hello.\n")
    assert infer(tmp_path, site, "--demo", "-i", "list.txt", "-o", "out").returncode == 0
    assert (tmp_path / "out" / "0001.wav").read_bytes() == (tmp_path / "demo.wav").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo", "Hello."], "--demo: the demo voice's bundle is not installed: pip install 'tacoglow[demo]'"),
        (["--demo", "voice/", "Hello."], "--demo: it is the bundle; give TEXT alone"),
        (["--demo", "Hello.", "-i", "list.txt"], "give either TEXT or -i FILE, not both"),
        (["--demo", "Hello.", "--url", "http://a"], "--demo: a server cannot do that"),
        (["-i", "list.txt"], "BUNDLE: missing; name the folder that export-onnx wrote, or give --demo"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = infer(tmp_path, None, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
