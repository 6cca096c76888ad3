"""Exports that are killed, run concurrently or run out of disk space leave a complete bundle or none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tacoglow
from tacoglow import Synthesizer
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.robustness.conftest import Tried

KILLS = pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.slow)])
LINES = 14  # printed by one export
TIMEOUT = 120.0  # seconds for one tiny export, on a busy machine


@pytest.fixture
def command(tiny_checkpoints: TinyCheckpoints) -> list[str]:
    """Return a command that exports the tiny voice; append the bundle's folder."""
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
    _, output = process.communicate(timeout=TIMEOUT)
    return process.returncode, output


@pytest.fixture
def assert_complete(tiny_bundle: Path) -> Callable[[Path], None]:
    """Return a check that a bundle speaks as one that was exported undisturbed."""
    expected = Synthesizer.load(tiny_bundle, threads=1).say("Hello.", seed=1).samples

    def check(bundle: Path) -> None:
        np.testing.assert_array_equal(Synthesizer.load(bundle, threads=1).say("Hello.", seed=1).samples, expected)

    return check


def test_two_exports_at_once_leave_a_complete_bundle(
    command: list[str], tmp_path: Path, tried: Tried, assert_complete: Callable[[Path], None]
) -> None:
    """Either may finish last, and one may fail with a one-line error; the bundle is complete in any case."""
    bundle = tmp_path / "voice"
    processes = [start(command, bundle) for _ in range(2)]
    ends = [(process.communicate(timeout=TIMEOUT)[1], process.returncode) for process in processes]
    assert any(code == 0 for _, code in ends)
    for output, code in ends:
        assert code in (0, 2)
        assert "Traceback" not in output
    assert_complete(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]
    tried("pairs of exports")


@KILLS
def test_killed_exports_leave_a_complete_bundle_or_none(
    command: list[str], tmp_path: Path, tried: Tried, assert_complete: Callable[[Path], None], kills: int
) -> None:
    """After kill -9 at any moment there is no bundle or a complete one, and the next export there succeeds."""
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
            assert_complete(bundle)
        tried("killed exports")
    code, output = export(command, bundle)
    assert code == 0, output
    assert_complete(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]  # nothing is left of the killed exports


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB; skip the test without permission to."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no permission to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["export-onnx", "convert"])
def test_full_disk_is_a_one_line_error(command: list[str], small_disk: Path, tried: Tried, name: str) -> None:
    if name == "convert":
        command[2] = command[2].replace("export-onnx", "tacoglow").replace("export_onnx_main", "main")
        command[3:3] = ["convert"]
        place = command.index("--config")
        del command[place : place + 2]
    code, output = export(command, small_disk / "voice")
    assert code == 2, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in output.splitlines()[-1]
    assert not [path for path in small_disk.rglob("*") if path.is_file()]
    tried("full disks")
