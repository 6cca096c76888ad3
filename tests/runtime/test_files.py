"""Whether an output can be written is said before anything is computed, also to somebody who is not root."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.files import check_writable

NOBODY = 65534
IN_FOLDER = "no permission to write in FOLDER"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices and permissions as on Linux")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that may be read and not written, as /dev is, seen by somebody who is not root."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as own:
        folder = Path(name)
        os.mkfifo(folder / "pipe")
        os.mkfifo(folder / "read only")
        (folder / "device").symlink_to("/dev/null")
        (folder / "elsewhere.wav").symlink_to(Path(own) / "new.wav")
        (folder / "old.wav").touch()
        (folder / "secret").mkdir()
        for path, mode in {"pipe": 0o666, "read only": 0o444, "old.wav": 0o666, "secret": 0, ".": 0o555}.items():
            (folder / path).chmod(mode)
        Path(own).chmod(0o777)
        is_root = os.getuid() == 0
        if is_root:
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield folder
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            folder.chmod(0o755)
            (folder / "secret").chmod(0o755)


@pytest.mark.parametrize(
    ("path", "is_folder", "problem"),
    [
        ("pipe", False, ""),  # what is written in place needs nothing of its folder
        ("device", False, ""),
        ("elsewhere.wav", False, ""),  # what it points to is replaced
        ("read only", False, "no permission to write to it"),
        ("old.wav", False, IN_FOLDER),  # it would be replaced
        ("new.wav", False, IN_FOLDER),
        ("new/out", True, IN_FOLDER),
        ("secret", False, "is a folder"),
        ("secret/new.wav", False, "Permission denied"),
        ("secret/new/out", True, "Permission denied"),
        ("absent/new.wav", False, "its folder does not exist"),
        ("old.wav/new.wav", False, "FOLDER/old.wav is not a folder"),
    ],
)
def test_what_can_be_written(
    folder: Path, path: str, is_folder: bool, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", os.path.exists)  # raise nothing, as from Python 3.14 on
    monkeypatch.setattr(Path, "is_dir", os.path.isdir)
    said = ""
    try:
        check_writable(folder / path, "-o", is_folder)
    except RequestError as error:
        said = str(error)
    problem = problem.replace("FOLDER", str(folder))
    assert said == (problem and f"{folder / path}: cannot be written: {problem}; give another place with -o")
