"""Atomic folder writes, safe against concurrent writers and killed processes."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..runtime.bundle import MANIFEST_NAME
from .errors import ExportError

# A temporary folder contains these two, so that the lock is not renamed with the content.
CONTENT = "bundle"
LOCK = "lock"  # locked for as long as the process that created the folder needs it


@contextmanager
def atomic_directory(bundle: Path) -> Iterator[Path]:
    """Yield an empty temporary folder, which replaces `bundle` at the end and is removed if anything fails.

    Raises ExportError if `bundle` exists but is not a bundle, or if an OSError occurs.
    """
    try:
        _remove_stale_folders(bundle)
        if bundle.exists() and not _is_replaceable(bundle):
            raise ExportError(f"{bundle}: exists but is not a bundle; choose another folder with -o")
        with created_directory(bundle.parent), temporary_directory(bundle, "new") as folder:
            yield folder
            _replace(folder, bundle)
    except OSError as error:
        raise ExportError(f"{bundle}: cannot be written: {_reason(error)}; choose another folder with -o") from error


@contextmanager
def created_directory(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; if anything fails, remove those that did not exist before, if empty."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def temporary_directory(target: Path, kind: str) -> Iterator[Path]:
    """Yield an empty folder on the file system of `target`, next to it; it is removed at the end unless renamed."""
    place, lock = _create_locked_folder(target, kind)
    folder = place / CONTENT
    try:
        folder.mkdir()
        yield folder
    finally:
        # The content goes while it is locked: another process would restore an old bundle from an unlocked folder.
        # The lock's file goes last, because Windows does not remove open files.
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        shutil.rmtree(place, ignore_errors=True)


def _is_replaceable(bundle: Path) -> bool:
    return bundle.is_dir() and ((bundle / MANIFEST_NAME).is_file() or not any(bundle.iterdir()))


def _replace(folder: Path, bundle: Path) -> None:
    """Rename folder to bundle; an old bundle is moved away first, because a rename only replaces empty folders."""
    if not bundle.exists():
        folder.rename(bundle)
        return
    with temporary_directory(bundle, "old") as aside:
        aside.rmdir()
        bundle.rename(aside)
        try:
            folder.rename(bundle)
        except OSError:
            with suppress(OSError):  # fails if another export has just written its bundle there
                aside.rename(bundle)
            raise


def _create_locked_folder(target: Path, kind: str) -> tuple[Path, FileLock]:
    """Create a folder next to `target` that no other process takes for a stale one.

    On a file system without locks it stays unlocked; stale folders are not removed there.
    """
    while True:
        place = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.{kind}."))
        lock = FileLock(place / LOCK)
        with suppress(OSError, NotImplementedError):
            lock.acquire()
        if place.exists() and (not lock.is_locked or (place / LOCK).exists()):
            return place, lock
        lock.release()  # another process removed the folder as stale before it was locked


def _remove_stale_folders(bundle: Path) -> None:
    """Remove the temporary folders of killed processes: those whose lock is free.

    If a process was killed after it had moved the old bundle away, the old bundle is restored first.
    """
    pattern = re.compile(rf"\.{re.escape(bundle.name)}\.(new|old)\.[a-z0-9_]{{8}}")
    for place in list(bundle.parent.iterdir()) if bundle.parent.is_dir() else []:
        match = pattern.fullmatch(place.name)
        if match is None or not place.is_dir():
            continue
        lock = FileLock(place / LOCK)
        # Skip a folder that is in use, already removed, or another user's.
        with suppress(Timeout, OSError, NotImplementedError), lock.acquire(timeout=0):
            if match[1] == "old" and not bundle.exists() and (place / CONTENT / MANIFEST_NAME).is_file():
                (place / CONTENT).rename(bundle)
            shutil.rmtree(place, ignore_errors=True)


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][2])  # copytree lists (source, target, reason) of every file that it could not copy
    return error.strerror or str(error)
