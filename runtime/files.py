"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import RequestError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and give it its own at the end; a device or a pipe is written straight to.

    Raises RequestError where that cannot be done, and then nothing has changed.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _write_and_rename(path, content)
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _write_and_rename(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.close()
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise


def check_writable(path: Path, option: str, is_folder: bool) -> None:
    """Raises RequestError, naming the option, unless `path` can be written, or be made if it is to be a folder."""
    folder = path if is_folder else path.parent
    while is_folder and not folder.exists() and folder != folder.parent:
        folder = folder.parent  # the nearest one that is there: what is missing below it will be made
    problem = None
    if path.is_dir() and not is_folder:
        problem = "is a folder"
    elif not folder.is_dir():
        problem = f"{folder} is no folder" if folder.exists() else "its folder does not exist"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"no permission to write in {folder}"
    if problem is not None:
        raise RequestError(f"{path}: cannot be written: {problem}; give another place with {option}")


def _umask() -> int:
    """Temporary files are private; what is kept should have the permissions that any new file would have."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
