"""What must agree before anything is built: the versions, the changelog and the C++ library's binary interface."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .abi import added, describe_header, header_version, removed
from .changelog import find_notes


class GateError(Exception):
    """One line: what is wrong, and the way out."""


def check_gates(root: Path, tag: str) -> str:
    """Return the version of the checkout `root`; tag: that of a release, "" if it is none. Raises GateError."""
    version = read_version(root)
    header = header_version(root / "cpp" / "include" / "tacoglow.h")
    project = re.search(
        r"^project\(tacoglow VERSION (\S+)", (root / "cpp" / "CMakeLists.txt").read_text(), re.MULTILINE
    )
    for place, found in (("tacoglow.h", header), ("cpp/CMakeLists.txt", project[1] if project else "none")):
        if found != version:
            raise GateError(f"version: __init__.py says {version}, {place} says {found}; make them the same")
    if tag and tag != f"v{version}":
        raise GateError(f"tag: {tag} does not match the version; expected v{version}, or another __version__")
    try:
        find_notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), version, is_release=bool(tag))
    except ValueError as error:
        raise GateError(str(error)) from error
    check_abi(root, version)
    return version


def read_version(root: Path) -> str:
    found = re.search(r'^__version__ = "(\d+\.\d+\.\d+)"$', (root / "__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise GateError('__init__.py: expected __version__ = "1.2.3"')
    return found[1]


def check_abi(root: Path, version: str) -> None:
    """Raise GateError if the interface is not as recorded, or differs from the last release without a new version."""
    recorded = (root / "cpp" / "abi.txt").read_text()
    described = describe_header(root / "cpp" / "include" / "tacoglow.h")
    if described != recorded:
        changed = [*removed(recorded, described), *added(recorded, described)]
        raise GateError(f"cpp/abi.txt: {_first(changed)} is not as recorded; run make abi, and look at what changed")
    released = last_release(root)
    if released is None:
        return
    old = _git(root, "show", f"v{released}:cpp/abi.txt")
    gone = removed(old, recorded)
    if gone and soname(version) == soname(released):
        raise GateError(
            f"ABI: {_first(gone)} was in {released} and is gone or changed, so programs would break; "
            f"expected a version with another soname than {soname(released)}, got {version}"
        )
    new = added(old, recorded)
    if new and version == released:
        raise GateError(f"ABI: {_first(new)} is not in {released}; expected a new version, got {version}")


def soname(version: str) -> str:
    """Before 1.0 a minor version may change the binary interface."""
    major, minor, _ = version.split(".")
    return f"{major}.{minor}" if major == "0" else major


def last_release(root: Path) -> str | None:
    """Return the version of the newest tag that this commit descends from, other than its own."""
    try:
        tags = _git(root, "tag", "--merged", "HEAD", "--no-contains", "HEAD", "--list", "v*").split()
    except GateError:  # an unpacked source archive has no history
        return None
    versions = [tag[1:] for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return max(versions, key=lambda text: tuple(map(int, text.split("."))), default=None)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GateError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def _first(entries: list[str]) -> str:
    more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
    return (repr(entries[0]) if entries else "the version") + more
