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

CONTENT = "bundle"  # within a temporary folder: the folder that is renamed
LOCK = "lock"  # within a temporary folder: held while its process needs the folder


@contextmanager
def atomic_directory(bundle: Path) -> Iterator[Path]:
    """A temporary folder that replaces `bundle` at the end, and is removed if anything fails.

    Raises ExportError if something that is not a bundle is in the way, or if the disk refuses.
    """
    try:
        _clear_leftovers(bundle)
        if bundle.exists() and not _is_replaceable(bundle):
            raise ExportError(f"{bundle}: exists but is not a bundle; choose another folder with -o")
        with created_directory(bundle.parent), temporary_directory(bundle, "new") as folder:
            yield folder
            _replace(folder, bundle)
    except OSError as error:
        raise ExportError(f"{bundle}: cannot be written: {error.strerror}; choose another folder with -o") from error


@contextmanager
def created_directory(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; if anything fails, remove those that did not exist before, if empty."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for place in missing:
                place.rmdir()
        raise


@contextmanager
def temporary_directory(target: Path, kind: str) -> Iterator[Path]:
    """An empty folder on the file system of `target`, next to it, removed at the end unless renamed."""
    place, lock = _locked_place(target, kind)
    try:
        folder = place / CONTENT
        folder.mkdir()
        yield folder
    finally:
        lock.release()
        shutil.rmtree(place, ignore_errors=True)


def _is_replaceable(bundle: Path) -> bool:
    return bundle.is_dir() and ((bundle / MANIFEST_NAME).is_file() or not any(bundle.iterdir()))


def _replace(folder: Path, bundle: Path) -> None:
    """Rename folder to bundle; an old bundle is moved away first, because a rename cannot replace a full folder."""
    if not bundle.exists():
        folder.rename(bundle)
        return
    with temporary_directory(bundle, "old") as aside:
        aside.rmdir()
        bundle.rename(aside)
        try:
            folder.rename(bundle)
        except OSError:
            with suppress(OSError):  # another export may have written a bundle there meanwhile
                aside.rename(bundle)
            raise


def _locked_place(target: Path, kind: str) -> tuple[Path, FileLock]:
    while True:
        place = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.{kind}."))
        lock = FileLock(place / LOCK)
        with suppress(OSError, NotImplementedError):  # without locks, leftovers are not cleared either
            lock.acquire()
        if place.exists() and (not lock.is_locked or (place / LOCK).exists()):
            return place, lock
        lock.release()  # another process cleared it as a leftover before it was locked


def _clear_leftovers(bundle: Path) -> None:
    """Remove the temporary folders of killed processes, whose locks are free.

    A bundle that a killed process had moved away, and not yet replaced, is restored.
    """
    pattern = re.compile(rf"\.{re.escape(bundle.name)}\.(new|old)\.[a-z0-9_]{{8}}")
    for place in list(bundle.parent.iterdir()) if bundle.parent.is_dir() else []:
        match = pattern.fullmatch(place.name)
        if match is None or not place.is_dir():
            continue
        lock = FileLock(place / LOCK)
        # It may be locked, gone, or another user's.
        with suppress(Timeout, OSError, NotImplementedError), lock.acquire(timeout=0):
            if match[1] == "old" and not bundle.exists() and (place / CONTENT / MANIFEST_NAME).is_file():
                (place / CONTENT).rename(bundle)
            shutil.rmtree(place, ignore_errors=True)
