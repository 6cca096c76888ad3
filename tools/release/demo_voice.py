"""The demo voice's own version: a package index never takes the same version of a package twice."""

from __future__ import annotations

import re
from pathlib import Path

from .gates import last_release
from .steps import ROOT, Folders, StepError, run

PROJECT = "models/demo/pyproject.toml"
SPEAKS = ("models/demo/*.pt", "models/demo/voice.json")  # git's patterns of the files that its speech comes from


def find_release(root: Path) -> str | None:
    """Return the last release if the checkout's version of the demo voice came with it already; else None."""
    released = last_release(root)
    if released is None:
        return None
    old = run("git", "show", f"v{released}:{PROJECT}", cwd=root)
    return released if read_version(old) == read_version((root / PROJECT).read_text(encoding="utf-8")) else None


def read_version(project: str) -> str:
    found = re.search(r'^version = "(.+?)"', project, re.MULTILINE)
    if found is None:
        raise StepError(f'{PROJECT}: expected version = "3.0"')
    return found[1]


def check_demo_voice(root: Path) -> None:
    """Raise StepError if the demo voice differs from that of the last release without a new version."""
    released = find_release(root)
    if released is None:
        return
    changed = run("git", "diff", "--name-only", f"v{released}", "--", *SPEAKS, cwd=root).split()
    if changed:
        version = read_version((root / PROJECT).read_text(encoding="utf-8"))
        raise StepError(f"{changed[0]}: is not that of {released}; expected a new version in {PROJECT}, got {version}")


def leave_out_released(folders: Folders) -> str:
    """Delete the wheel of a demo voice that the index has, once other steps have used it, from what is released."""
    released = find_release(ROOT)
    if released is None:
        return "its version is new"
    for file in folders.dist.glob("tacoglow_demo_voice-*"):
        file.unlink()
    return f"its version came with {released}, and is not released again"
