"""The answer of `tacoglow --version`: version, commit, and the backends of this machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ... import __version__

PACKAGE = Path(__file__).parents[2]
ORIGIN = PACKAGE / "origin.json"  # written by setup.py into a package that is built
SHOWN_DIGITS = 12


def describe_version() -> str:
    """Return two lines, such as "tacoglow 0.1.0 (commit 6f707de31c42)" and "backends: onnxruntime"."""
    from ...runtime.backends import BACKENDS, backend_class

    commit = find_commit()
    first = f"tacoglow {__version__}" + (f" (commit {commit[:SHOWN_DIGITS]})" if commit else "")
    available = [name for name in BACKENDS if backend_class(name).unavailable_reason() is None]
    return f"{first}\nbackends: {', '.join(available) or 'none: see tacoglow doctor'}"


def find_commit() -> str:
    """Return the commit that the package was built from, or that of this clone; "" if neither is known."""
    if ORIGIN.is_file():
        return str(json.loads(ORIGIN.read_text(encoding="utf-8"))["commit"])
    if not (PACKAGE / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PACKAGE, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return ""
    return done.stdout.strip()
