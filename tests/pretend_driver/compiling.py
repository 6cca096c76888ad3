"""Builds shared libraries with g++, once for each text of their sources."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

BUILT = Path(tempfile.gettempdir()) / "tacoglow-emulation"


def build_library(name: str, sources: Mapping[str, str], arguments: Sequence[str]) -> Path:
    """Return the library's path. sources: files by name. arguments: of g++, which runs beside them."""
    digest = hashlib.sha256("\0".join([*arguments, *sources, *sources.values()]).encode()).hexdigest()[:16]
    library = BUILT / digest / name
    if not library.exists():
        BUILT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            for file, text in sources.items():
                (Path(folder) / file).write_text(text)
            subprocess.run(["g++", *arguments, "-o", name], cwd=folder, check=True)
            library.parent.mkdir(exist_ok=True)
            (Path(folder) / name).replace(library)
    return library
