"""Atomic folder writes, safe against concurrent writers and killed processes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ExportError
from ..files import exchange
from .manifest import Manifest
from .reading import MANIFEST_NAME, find_bundle_files, list_bundle_files

# A temporary folder contains these two, so that the lock is not renamed with the content.
CONTENT = "bundle"
LOCK = "lock"  # locked for as long as the process that created the folder needs it


@contextmanager
def atomic_directory(bundle: Path, force: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder, whose content replaces that of the bundle at the end.

    Only the files that the old bundle's manifest lists are replaced; all others stay. If `bundle` is a symbolic link,
    the folder that it points to is replaced. If anything fails, the temporary folder is removed. force: accept a folder
    that is not a bundle, and replace files of the same names in it.
    Raises ExportError if `bundle` cannot be replaced (`check_replaceable`), or if an OSError occurs.
    """
    try:
        check_replaceable(bundle, force)
        target = Path(os.path.realpath(bundle))
        remove_stale_folders(target)
        with created_directory(target.parent), temporary_directory(target, "new") as folder:
            yield folder
            _keep_other_files(target, folder, force)
            _replace(folder, target)
    except OSError as error:
        raise ExportError(f"{bundle}: cannot be written: {_reason(error)}; choose another folder with -o") from error


@contextmanager
def extended_bundle(bundle: Path, manifest: Manifest, force: bool = False) -> Iterator[Path]:
    """Yield a folder as `atomic_directory` does, with the files that `manifest` lists except the manifest itself.

    manifest: the bundle's, without what is to be added. Raises ExportError as `atomic_directory` does.
    """
    with atomic_directory(bundle, force) as folder:
        for file in list_bundle_files(manifest) - {MANIFEST_NAME}:
            link_or_copy(bundle / file, folder / file)
        yield folder


def check_replaceable(bundle: Path, force: bool = False) -> None:
    """Raise ExportError if `bundle` is a file, a folder that is not a bundle and not empty, or the current folder.

    The current folder is rejected because it would be replaced by a different folder of the same name.
    """
    target = Path(os.path.realpath(bundle))
    if target.exists() and not target.is_dir():
        raise ExportError(f"{bundle}: exists but is not a bundle; choose another folder with -o")
    if target in (current := Path.cwd(), *current.parents):
        raise ExportError(f"{bundle}: contains the current folder, so it cannot be replaced; choose another with -o")
    if target.is_dir() and any(target.iterdir()) and find_bundle_files(target) is None and not force:
        raise ExportError(
            f"{bundle}: exists but is not a bundle; choose another folder with -o, or add the bundle to it with --force"
        )


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


def _keep_other_files(bundle: Path, folder: Path, force: bool) -> None:
    """Add to `folder` all files of `bundle` that are not the bundle's own, as hard links if possible."""
    if not bundle.exists():
        return
    replaced = find_bundle_files(bundle) or frozenset()
    shutil.copymode(bundle, folder)
    for entry in list(bundle.iterdir()):
        target = folder / entry.name
        if entry.name in replaced and not entry.is_dir():
            continue
        if target.exists():
            if force and not entry.is_dir():
                continue
            raise ExportError(
                f"{entry}: would be replaced, but the bundle's manifest does not list it; move it, choose another "
                "folder with -o, or replace it with --force"
            )
        if entry.is_symlink():
            target.symlink_to(entry.readlink())
        elif entry.is_dir():
            shutil.copytree(entry, target, symlinks=True, copy_function=link_or_copy)
        else:
            link_or_copy(entry, target)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Create a hard link, or a copy on a file system without hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _replace(folder: Path, bundle: Path) -> None:
    """Rename folder to bundle, in one step if the system can exchange two folders.

    Otherwise an old bundle is moved away first, because a rename only replaces empty folders.
    """
    if not bundle.exists():
        folder.rename(bundle)
        return
    if exchange(folder, bundle):
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


def remove_stale_folders(bundle: Path) -> None:
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
