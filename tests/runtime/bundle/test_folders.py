"""Atomic folder writes: stale folders of killed processes are removed, those of running processes are not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from filelock import FileLock

import tacoglow
from tacoglow.export import ExportError
from tacoglow.runtime.bundle import folders
from tacoglow.runtime.bundle.folders import atomic_directory, created_directory
from tacoglow.runtime.bundle.reading import list_bundle_files, load_manifest

WRITER = """
import sys
from pathlib import Path
from tacoglow.runtime.bundle.folders import atomic_directory
with atomic_directory(Path(sys.argv[1])) as folder:
    (folder / "manifest.json").write_text(sys.argv[2])
    print("writing", flush=True)
    sys.stdin.readline()
"""


def manifest(generator: str, files: tuple[str, ...] = ("encoder.onnx",)) -> str:
    """The least that identifies a bundle."""
    graphs = {name: {"file": name, "sha256": ""} for name in files}
    return json.dumps({"format_version": 1, "digest": "", "generator": generator, "graphs": graphs})


def start_writer(bundle: Path) -> subprocess.Popen[str]:
    """Start a process that stays inside atomic_directory until it reads a line."""
    environment = os.environ | {"PYTHONPATH": str(Path(tacoglow.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(bundle), manifest("another process")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def write(bundle: Path, generator: str, force: bool = False) -> None:
    with atomic_directory(bundle, force) as folder:
        (folder / "manifest.json").write_text(manifest(generator))
        (folder / "encoder.onnx").write_text(generator)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_stale_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "voice")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (stale,) = names(tmp_path)
    assert stale.startswith(".voice.new.")
    write(tmp_path / "voice.new", "another bundle")  # the stale folder is not one of this bundle's
    assert names(tmp_path) == [stale, "voice.new"]
    write(tmp_path / "voice", "new")
    assert names(tmp_path) == ["voice", "voice.new"]


def test_folder_of_a_running_process_stays(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "voice")
    write(tmp_path / "voice", "new")
    assert len(names(tmp_path)) == 2
    process.communicate("go on\n")
    assert process.returncode == 0
    assert (tmp_path / "voice" / "manifest.json").read_text() == manifest("another process")
    assert names(tmp_path) == ["voice"]


@pytest.mark.parametrize("succeeds", [False, True])
def test_moved_away_bundle_is_restored(tmp_path: Path, succeeds: bool) -> None:
    """The folders are those of a process that was killed between its last two renames."""
    aside, new = tmp_path / ".voice.old.a1b2c3d4", tmp_path / ".voice.new.e5f6_7g8"
    (aside / "bundle").mkdir(parents=True)
    (aside / "bundle" / "manifest.json").write_text(manifest("old"))
    new.mkdir()
    if succeeds:
        write(tmp_path / "voice", "new")
    else:
        with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
            with atomic_directory(tmp_path / "voice"):
                raise KeyboardInterrupt
    assert (tmp_path / "voice" / "manifest.json").read_text() == manifest("new" if succeeds else "old")
    assert names(tmp_path) == ["voice"]


def test_replaced_bundle_is_removed_before_its_lock_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it were still there, a second process could restore it while a third has moved the new bundle away."""
    write(tmp_path / "voice", "old")
    release = FileLock.release
    released: set[str] = set()
    unlocked: list[Path] = []

    def spy(self: FileLock, force: bool = False) -> None:  # also called when a lock is garbage-collected
        place = Path(self.lock_file).parent
        released.add(place.name[: len(".voice.old")])
        unlocked.extend(place.glob("bundle/*"))
        release(self, force)

    monkeypatch.setattr(FileLock, "release", spy)
    monkeypatch.setattr(folders, "exchange", lambda *_: False)  # a system that cannot exchange two folders
    write(tmp_path / "voice", "new")
    assert released == {".voice.old", ".voice.new"}
    assert unlocked == []


def test_folders_with_similar_names_stay(tmp_path: Path) -> None:
    others = [".voice", ".voice.new", ".voice.new.short", ".voice.backup.a1b2c3d4", "voice.new.a1b2c3d4"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".voice.new.00000000").write_text("a file")
    write(tmp_path / "voice", "new")
    assert names(tmp_path) == sorted([*others, ".voice.new.00000000", "voice"])


def test_failure_removes_the_parents_that_it_created(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="some reason"):  # noqa: SIM117
        with atomic_directory(tmp_path / "there" / "made" / "too" / "voice"):
            raise ExportError("some reason")
    assert names(tmp_path / "there") == []
    write(tmp_path / "there" / "made" / "voice", "new")
    assert names(tmp_path / "there" / "made") == ["voice"]


def test_failure_to_create_a_parent_removes_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def fail(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if self.name == "too" and not parents:  # called by itself, once its parent exists
            raise OSError(28, "No space left on device")
        mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(ExportError, match="voice: cannot be written: No space left on device"):
        write(tmp_path / "made" / "too" / "voice", "new")
    assert names(tmp_path) == []


def test_failed_copy_is_reported_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "broken").symlink_to(tmp_path / "nothing")
    with pytest.raises(ExportError, match=r"voice: cannot be written: .*No such file or directory.*; choose"):  # noqa: SIM117
        with atomic_directory(tmp_path / "voice") as folder:
            shutil.copytree(tmp_path / "source", folder, dirs_exist_ok=True)
    assert names(tmp_path) == ["source"]


def test_failure_keeps_a_parent_that_others_use(tmp_path: Path) -> None:
    def fail() -> None:
        with created_directory(tmp_path / "made" / "too"):
            (tmp_path / "made" / "theirs").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["theirs"]


def test_other_files_of_a_bundle_stay(tmp_path: Path) -> None:
    bundle = tmp_path / "voice"
    write(bundle, "old")
    (bundle / "waveglow.onnx").write_text("old")
    (bundle / "manifest.json").write_text(manifest("old", ("encoder.onnx", "waveglow.onnx")))
    (bundle / "notes.txt").write_text("mine")
    (bundle / "notes.txt").chmod(0o600)
    (bundle / "link").symlink_to("notes.txt")
    (bundle / "engines" / "deep").mkdir(parents=True)
    (bundle / "engines" / "deep" / "a.plan").write_text("built")
    write(bundle, "new")
    assert names(bundle) == ["encoder.onnx", "engines", "link", "manifest.json", "notes.txt"]
    assert (bundle / "encoder.onnx").read_text() == "new"
    assert ((bundle / "notes.txt").read_text(), (bundle / "notes.txt").stat().st_mode & 0o777) == ("mine", 0o600)
    assert (bundle / "link").readlink() == Path("notes.txt")
    assert (bundle / "engines" / "deep" / "a.plan").read_text() == "built"
    assert names(tmp_path) == ["voice"]


def test_file_that_the_manifest_does_not_list_is_not_replaced(tmp_path: Path) -> None:
    bundle = tmp_path / "voice"
    write(bundle, "old")
    (bundle / "manifest.json").write_text(manifest("old", ("other.onnx",)))
    with pytest.raises(ExportError, match=r"encoder\.onnx: would be replaced, .*--force"):
        write(bundle, "new")
    assert (bundle / "encoder.onnx").read_text() == "old"
    write(bundle, "new", force=True)
    assert (bundle / "encoder.onnx").read_text() == "new"


FOREIGN = {
    "a web app": '{"start_url":"/"}',
    "graphs without names": '{"format_version": 1, "digest": "", "generator": "", "graphs": {}}',
    "files elsewhere": manifest("x", ("../encoder.onnx",)),
    "a list": "[1]",
    "nested": "[" * 2000,
    "17 MiB": '"' + "x" * (17 << 20) + '"',
    "binary": "\xff\x00",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_folder_of_another_program_is_not_replaced(tmp_path: Path, content: str) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "manifest.json").write_text(content, encoding="latin-1")
    (app / "index.html").write_text("mine")
    with pytest.raises(ExportError, match=r"app: exists but is not a bundle; .* -o, or .*--force"):
        write(app, "new")
    assert names(app) == ["index.html", "manifest.json"]
    assert (app / "manifest.json").read_text(encoding="latin-1") == content
    write(app, "new", force=True)
    assert names(app) == ["encoder.onnx", "index.html", "manifest.json"]
    assert (app / "index.html").read_text() == "mine"
    assert (app / "manifest.json").read_text() == manifest("new")


@pytest.mark.parametrize("exists", [False, True])
def test_link_to_a_bundle_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "voice").symlink_to("disk/real")
    if exists:
        write(tmp_path / "disk" / "real", "old")
    write(tmp_path / "voice", "new")
    assert (tmp_path / "voice").readlink() == Path("disk/real")
    assert (tmp_path / "disk" / "real" / "encoder.onnx").read_text() == "new"
    assert names(tmp_path) == ["disk", "voice"]
    assert names(tmp_path / "disk") == ["real"]


@pytest.mark.parametrize("place", [".", "..", "../voice"])
def test_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    write(tmp_path / "voice", "old")
    monkeypatch.chdir(tmp_path / "voice")
    with pytest.raises(ExportError, match="contains the current folder"):
        write(Path(place), "new", force=True)


@pytest.mark.parametrize("can_exchange", [False, True])
def test_bundle_is_there_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool) -> None:
    """With an exchange of both folders; without one, there is a moment between two renames."""
    bundle = tmp_path / "voice"
    write(bundle, "old")
    missing = []
    rename = Path.rename

    def spy(self: Path, target: Path) -> Path:
        result = rename(self, target)
        missing.append(not bundle.exists())
        return result

    monkeypatch.setattr(Path, "rename", spy)
    if not can_exchange:
        monkeypatch.setattr(folders, "exchange", lambda *_: False)
    elif not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    write(bundle, "new")
    assert any(missing) is not can_exchange
    assert (bundle / "encoder.onnx").read_text() == "new"
    assert names(tmp_path) == ["voice"]


def test_a_lexicon_and_a_provenance_list_no_files(tiny_bundle: Path) -> None:
    """Whatever words they have."""
    manifest, words = load_manifest(tiny_bundle), {"file": "../elsewhere", "sha256": "0" * 64}
    changed = msgspec.structs.replace(
        manifest,
        voice=msgspec.structs.replace(manifest.voice, provenance=words),
        text=msgspec.structs.replace(manifest.text, lexicon=words),
    )
    assert list_bundle_files(changed) == list_bundle_files(manifest)
