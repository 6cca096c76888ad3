"""Folders that appear whole or not at all, whoever else writes there and whoever is killed meanwhile."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..runtime.manifest import MANIFEST_NAME
from .errors import ExportError


@contextmanager
def written_whole(bundle: Path) -> Iterator[Path]:
    """A temporary folder beside `bundle` that takes its place at the end, and is removed if anything fails.

    Raises ExportError if something that is no bundle is in the way, or if the disk refuses.
    """
    try:
        _clear_leftovers(bundle)
        if bundle.exists() and not _is_replaceable(bundle):
            raise ExportError(f"{bundle}: exists and is no bundle; choose another folder with -o")
        with made_folder(bundle.parent), _temporary(bundle, "new") as folder:
            yield folder
            folder.chmod(0o755)
            _replace(folder, bundle)
    except OSError as error:
        raise ExportError(f"{bundle}: cannot be written: {error.strerror}; choose another folder with -o") from error


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; if anything fails, those that were not there before go again, if empty."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for place in missing:
                place.rmdir()
        raise


def _is_replaceable(bundle: Path) -> bool:
    return bundle.is_dir() and ((bundle / MANIFEST_NAME).is_file() or not any(bundle.iterdir()))


def _replace(folder: Path, bundle: Path) -> None:
    """Rename folder to bundle; what was there steps aside first, since a folder cannot be renamed onto a full one."""
    if not bundle.exists():
        folder.rename(bundle)
        return
    with _temporary(bundle, "old") as aside:
        old = bundle.rename(aside / "bundle")
        try:
            folder.rename(bundle)
        except OSError:
            with suppress(OSError):  # unless another export has put a bundle there meanwhile
                old.rename(bundle)
            raise


@contextmanager
def _temporary(bundle: Path, kind: str) -> Iterator[Path]:
    """A folder beside the bundle, locked for as long as this process lives and needs it."""
    folder, lock = _locked_folder(bundle, kind)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(bundle: Path, kind: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=bundle.parent, prefix=f".{bundle.name}.{kind}."))
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for a leftover before it was locked
            continue
        with suppress(OSError):  # some file systems know no locks: there leftovers are not cleared either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _clear_leftovers(bundle: Path) -> None:
    """Remove what killed processes left beside the bundle: their folders are locked no longer.

    A bundle that had stepped aside when its successor was killed comes back.
    """
    pattern = re.compile(rf"\.{re.escape(bundle.name)}\.(new|old)\.[a-z0-9_]{{8}}")
    found = list(bundle.parent.iterdir()) if bundle.parent.is_dir() else []
    for folder in [place for place in found if pattern.fullmatch(place.name)]:
        with suppress(OSError):  # it is locked, gone, or another user's
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not bundle.exists() and (folder / "bundle" / MANIFEST_NAME).is_file():
                    (folder / "bundle").rename(bundle)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
