"""Atomic file writes, and checks that output paths can be written."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import RequestError

PARTIAL_SUFFIX = ".partial"  # suffix of temporary files; a killed process may leave one behind


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it; what is not replaceable is written directly.

    Raises RequestError if the file cannot be written; an existing file is then unchanged.
    """
    try:
        if is_replaceable(path):
            replace_file(path, content)
        else:
            path.write_bytes(content)
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def is_replaceable(path: Path) -> bool:
    """False for a device, a pipe, and an open file without a name, as of memfd_create."""
    target = Path(os.path.realpath(path))  # of a file without a name, this leads elsewhere
    return not path.exists() or (target.is_file() and target.samefile(path))


def replace_file(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file under a temporary name and rename it. durable: flush it to the disk first. Raises OSError."""
    partial = PartialFile(path)
    try:
        partial.file.write(content)
        partial.commit(durable)
    except BaseException:
        partial.discard()
        raise


class PartialFile:
    """A new file beside its final path, under a temporary name: `commit` renames it, `discard` removes it."""

    def __init__(self, path: Path) -> None:
        """path: a symbolic link stays, and what it points to is replaced. Raises OSError."""
        self.path = path = Path(os.path.realpath(path))
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        self.file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - commit and discard close it
            dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, delete=False
        )

    def commit(self, durable: bool = False, private: bool = False) -> None:
        """Replace the file at the final path. durable: flush it to the disk first. private: only its owner may read it.

        Raises OSError.
        """
        if durable:
            self.file.flush()
            os.fsync(self.file.fileno())
        self.file.close()
        temporary = Path(self.file.name)
        if not private:  # as it was made
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(self.path)

    def discard(self) -> None:
        with suppress(OSError):  # a full disk fails once more when its buffer is flushed
            self.file.close()
        Path(self.file.name).unlink(missing_ok=True)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two existing files or folders in one step; returns False if the system cannot.

    Linux has renameat2 (in glibc since 2.28), macOS has renamex_np.
    """
    names = os.fsencode(first), os.fsencode(second)
    libc: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        at_fdcwd, rename_exchange = -100, 2
        return bool(libc.renameat2(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange) == 0)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        rename_swap = 2
        return bool(libc.renamex_np(*names, rename_swap) == 0)
    return False


def clear_partial_files(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder that no other process is writing to."""
    for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)


def check_writable(path: Path, option: str, is_folder: bool) -> None:
    """Check that `path` can be written, or created if it is a folder. Raises RequestError that names the option."""
    try:
        problem = _problem_in(_nearest_folder(path)) if is_folder else _problem_of_file(path)
    except OSError as error:  # of a folder on the way that may not be searched
        problem = error.strerror
    if problem:
        raise RequestError(f"{path}: cannot be written: {problem}; give another place with {option}")


def _nearest_folder(path: Path) -> Path:
    """The path itself, or what exists of it; missing folders below that will be created."""
    while not _mode(path) and path != path.parent:
        path = path.parent
    return path


def _problem_of_file(path: Path) -> str | None:
    if stat.S_ISDIR(_mode(path)):
        return "is a folder"
    if not is_replaceable(path):  # it is written in place, whatever its folder allows
        return None if os.access(path, os.W_OK) else "no permission to write to it"
    return _problem_in(Path(os.path.realpath(path)).parent)  # what a link points to is replaced


def _problem_in(folder: Path) -> str | None:
    if not stat.S_ISDIR(mode := _mode(folder)):
        return f"{folder} is not a folder" if mode else "its folder does not exist"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"no permission to write in {folder}"


def _mode(path: Path) -> int:
    """The mode of what is there, 0 if nothing is. Raises OSError if that cannot be known; Path.exists raises it before
    Python 3.14 only."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _umask() -> int:
    """The process's umask. Temporary files are private; the final file should have the permissions of any new file."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
