"""Exports that are interrupted, crowded or out of room leave a whole bundle or none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tacoglow
from tacoglow import Synthesizer
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.robustness.conftest import Tried

KILLS = pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.slow)])
LINES = 14  # that an export says, from its first step to its last
SLOWEST = 120.0  # seconds of one tiny export, on a crowded machine


@pytest.fixture
def command(tiny_checkpoints: TinyCheckpoints) -> list[str]:
    """Exports the tiny voice; the folder is to be added."""
    files = tiny_checkpoints
    script = "import sys; from tacoglow import cli; sys.argv[0] = 'export-onnx'; cli.export_onnx_main()"
    options = ["--tacotron2", files.tacotron2, "--waveglow", files.waveglow, "--config", files.voice, "-o"]
    return [sys.executable, "-c", script, *map(str, options)]


def start(command: list[str], bundle: Path) -> subprocess.Popen[str]:
    package = str(Path(tacoglow.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [*command, str(bundle)], cwd=bundle.parent, env=environment, stderr=subprocess.PIPE, text=True
    )


def export(command: list[str], bundle: Path) -> tuple[int, str]:
    process = start(command, bundle)
    _, said = process.communicate(timeout=SLOWEST)
    return process.returncode, said


def assert_whole(bundle: Path) -> None:
    assert len(Synthesizer.load(bundle).say("Hello.", seed=1).samples) > 0


def test_two_at_once(command: list[str], tmp_path: Path, tried: Tried) -> None:
    """Either may come last or give way with an error in one line; a whole bundle is there in every case."""
    bundle = tmp_path / "voice"
    processes = [start(command, bundle) for _ in range(2)]
    ends = [(process.communicate(timeout=SLOWEST)[1], process.returncode) for process in processes]
    assert any(code == 0 for _, code in ends)
    for said, code in ends:
        assert code in (0, 2)
        assert "Traceback" not in said
    assert_whole(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]
    tried("pairs of exports")


@KILLS
def test_killed(command: list[str], tmp_path: Path, tried: Tried, kills: int) -> None:
    """kill -9 at any moment: no bundle or a whole one; and the next export works in the same place."""
    bundle, rng = tmp_path / "voice", random.Random(kills)
    for _ in range(kills):
        process = start(command, bundle)
        assert process.stderr is not None
        for _ in range(rng.randrange(LINES)):
            process.stderr.readline()
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if bundle.exists():
            assert_whole(bundle)
        tried("killed exports")
    code, said = export(command, bundle)
    assert code == 0, said
    assert_whole(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]  # nothing of the killed ones is left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where this may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no permission to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("what", ["export-onnx", "convert"])
def test_full_disk(command: list[str], small_disk: Path, tried: Tried, what: str) -> None:
    if what == "convert":
        command[2] = command[2].replace("export-onnx", "tacoglow").replace("export_onnx_main", "main")
        command[3:3] = ["convert"]
        place = command.index("--config")
        del command[place : place + 2]
    code, said = export(command, small_disk / "voice")
    assert code == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in said.splitlines()[-1]
    assert not [path for path in small_disk.rglob("*") if path.is_file()]
    tried("full disks")
