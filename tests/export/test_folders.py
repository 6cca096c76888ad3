"""Folders that appear whole: what a killed process leaves is cleared, what a living one writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tacoglow
from tacoglow.export import ExportError
from tacoglow.export.folders import atomic_directory, created_directory

WRITER = """
import sys
from pathlib import Path
from tacoglow.export.folders import atomic_directory
with atomic_directory(Path(sys.argv[1])) as folder:
    (folder / "manifest.json").write_text("another process")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def writer(bundle: Path) -> subprocess.Popen[str]:
    """Another process that is within atomic_directory until it reads a line."""
    environment = os.environ | {"PYTHONPATH": str(Path(tacoglow.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(bundle)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def write(bundle: Path, content: str) -> None:
    with atomic_directory(bundle) as folder:
        (folder / "manifest.json").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    process = writer(tmp_path / "voice")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (leftover,) = names(tmp_path)
    assert leftover.startswith(".voice.new.")
    write(tmp_path / "voice.new", "another bundle")  # whose leftovers these are not
    assert names(tmp_path) == [leftover, "voice.new"]
    write(tmp_path / "voice", "new")
    assert names(tmp_path) == ["voice", "voice.new"]


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    process = writer(tmp_path / "voice")
    write(tmp_path / "voice", "new")
    assert len(names(tmp_path)) == 2
    process.communicate("go on\n")
    assert process.returncode == 0
    assert (tmp_path / "voice" / "manifest.json").read_text() == "another process"
    assert names(tmp_path) == ["voice"]


@pytest.mark.parametrize("succeeds", [False, True])
def test_a_bundle_that_had_stepped_aside_comes_back(tmp_path: Path, succeeds: bool) -> None:
    """As a process leaves it that is killed between its last two renames."""
    aside, new = tmp_path / ".voice.old.a1b2c3d4", tmp_path / ".voice.new.e5f6_7g8"
    (aside / "bundle").mkdir(parents=True)
    (aside / "bundle" / "manifest.json").write_text("old")
    new.mkdir()
    if succeeds:
        write(tmp_path / "voice", "new")
    else:
        with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
            with atomic_directory(tmp_path / "voice"):
                raise KeyboardInterrupt
    assert (tmp_path / "voice" / "manifest.json").read_text() == ("new" if succeeds else "old")
    assert names(tmp_path) == ["voice"]


def test_what_only_looks_alike_stays(tmp_path: Path) -> None:
    others = [".voice", ".voice.new", ".voice.new.short", ".voice.backup.a1b2c3d4", "voice.new.a1b2c3d4"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".voice.new.00000000").write_text("a file")
    write(tmp_path / "voice", "new")
    assert names(tmp_path) == sorted([*others, ".voice.new.00000000", "voice"])


def test_a_failure_removes_the_parents_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="some reason"):  # noqa: SIM117
        with atomic_directory(tmp_path / "there" / "made" / "too" / "voice"):
            raise ExportError("some reason")
    assert names(tmp_path / "there") == []
    write(tmp_path / "there" / "made" / "voice", "new")
    assert names(tmp_path / "there" / "made") == ["voice"]


def test_a_failure_keeps_a_parent_that_others_use(tmp_path: Path) -> None:
    def fail() -> None:
        with created_directory(tmp_path / "made" / "too"):
            (tmp_path / "made" / "theirs").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["theirs"]
