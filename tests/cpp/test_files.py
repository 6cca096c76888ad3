"""Files of the C++ runtime appear complete or not at all; devices and pipes are written, not replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from .conftest import SOURCE
from .test_speak import speak


def write(programs: Path, path: Path, threads: int = 1, times: int = 1, limit: int | None = None) -> str:
    """Write wav files of 100,000 samples from threads, a value each; limit: most bytes of a file, as on a full disk."""
    command = [str(programs / "checks" / "checks"), "write", str(path), str(threads), str(times)]
    if limit is not None:
        command = ["prlimit", f"--fsize={limit}", *command]
    # A full file is an error for the program then, not a signal: Python ignores that signal, and so does its child.
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, restore_signals=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_threads_that_write_one_path_never_show_a_damaged_file(programs: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    assert write(programs, path) == "ok\n"
    size, seen = path.stat().st_size, set()
    outputs: list[str] = []
    writer = threading.Thread(target=lambda: outputs.append(write(programs, path, 2, 50)))
    writer.start()
    while writer.is_alive():
        content = path.read_bytes()
        assert len(content) == size
        samples = np.frombuffer(content[44:], np.int16)
        assert len(samples) == 100_000
        assert np.all(samples == samples[0])
        seen.add(int(samples[0]))
    writer.join()
    assert outputs == ["ok\n"]
    assert len(seen) == 2  # the file of each thread
    assert names(tmp_path) == ["out.wav"]


def test_a_link_at_a_temporary_name_is_not_followed(programs: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("keep me")
    path = tmp_path / "out.wav"
    for name in ("out.wav.partial", ".out.wav.partial"):
        (tmp_path / name).symlink_to(victim)
    assert write(programs, path) == "ok\n"
    assert victim.read_text() == "keep me"
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.parametrize("target", ["music/new.wav", "music/old.wav", "chain"])
def test_links_stay_and_lead_to_the_file(programs: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "old.wav").write_text("before")
    (tmp_path / "chain").symlink_to(tmp_path / "music" / "new.wav")
    (tmp_path / "out.wav").symlink_to(target)
    assert write(programs, tmp_path / "out.wav") == "ok\n"
    assert (tmp_path / "out.wav").readlink() == Path(target)
    assert (tmp_path / "chain").is_symlink()
    assert (tmp_path / "out.wav").resolve().parent == tmp_path / "music"
    assert (tmp_path / "out.wav").read_bytes().startswith(b"RIFF")


def test_a_loop_of_links_is_refused(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "out.wav").symlink_to("other.wav")
    (tmp_path / "other.wav").symlink_to("out.wav")
    assert "cannot write the file: Too many levels of symbolic links" in write(programs, tmp_path / "out.wav")
    assert names(tmp_path) == ["other.wav", "out.wav"]


def test_new_files_have_the_permissions_of_any_file(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    write(programs, tmp_path / "out.wav")
    assert (tmp_path / "out.wav").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_pipe_is_written_in_place(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "out.wav"  # where `speak` writes
    os.mkfifo(pipe)
    contents: list[bytes] = []
    reader = threading.Thread(target=lambda: contents.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = speak(programs, tiny_bundle, tmp_path, "--ids", "12 13")
    reader.join(60)
    assert done.returncode == 0, done.stderr
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert contents[0].startswith(b"RIFF")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_device_is_written_in_place(programs: Path, tmp_path: Path) -> None:
    """Through links, so that nothing can happen to the devices."""
    for name in ("null", "full"):
        (tmp_path / name).symlink_to(f"/dev/{name}")
    assert write(programs, tmp_path / "null") == "ok\n"
    message = f"{tmp_path / 'full'}: cannot write the file: No space left on device"
    assert write(programs, tmp_path / "full") == f"rejected with 3: {message}\n"
    assert names(tmp_path) == ["full", "null"]
    assert all((tmp_path / name).is_symlink() for name in ("null", "full"))
    assert all(Path(f"/dev/{name}").is_char_device() for name in ("null", "full"))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memfd_create")
def test_an_open_file_without_a_name_is_written_in_place(programs: Path) -> None:
    with os.fdopen(os.memfd_create("out"), "r+b") as file:
        file.write(bytes(300_000))
        file.flush()
        assert write(programs, Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")) == "ok\n"
        file.seek(0)
        content = file.read()
    assert content.startswith(b"RIFF")
    assert len(content) == 44 + 2 * 100_000


def test_a_failed_write_leaves_nothing(programs: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    assert "cannot write the file: File too large" in write(programs, path, limit=5000)
    assert names(tmp_path) == []
    path.write_text("before")
    assert "cannot write the file: File too large" in write(programs, path, limit=5000)
    assert (names(tmp_path), path.read_text()) == (["out.wav"], "before")
    path.unlink()
    path.mkdir()
    assert "cannot write the file: Is a directory" in write(programs, path)
    assert names(tmp_path) == ["out.wav"]


def test_samples_that_are_no_numbers_are_silence(programs: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [programs / "checks" / "checks", "write_nan", tmp_path / "out.wav"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
    np.testing.assert_array_equal(wavfile.read(tmp_path / "out.wav")[1], [0, 32767, -32767, 16384])


def test_messages_name_paths_in_utf8() -> None:
    """Also on Windows, where string() has the system's code page; `to_name` in files.hpp does."""
    sources = sorted((SOURCE / "src").rglob("*.?pp"))
    assert len(sources) > 100
    assert [source.name for source in sources if ".string()" in source.read_text()] == []
