"""What the steps of a release check share: folders, commands, and environments for installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .gates import read_version

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
MB = 1_000_000
TEXT = "Hello world, I missed you."


class StepError(Exception):
    """One line: what was found, what was expected."""


@dataclass(frozen=True)
class Folders:
    """Where a release check works; every step finds there what the ones before it made."""

    dist: Path  # what is released
    work: Path  # everything else

    @property
    def source(self) -> Path:
        """The unpacked source archive."""
        return self.work / f"tacoglow-{read_version(ROOT)}"

    @property
    def voice(self) -> Path:
        """The demo voice's bundle, exported by README's commands."""
        return self.work / "readme" / "voice"

    def environment(self, name: str) -> Path:
        return self.work / "environments" / name

    def one(self, pattern: str) -> Path:
        """Return the file in `dist`, of which there is one. Raises StepError."""
        found = sorted(self.dist.glob(pattern))
        if len(found) != 1:
            raise StepError(
                f"{self.dist}: expected one {pattern}, got {', '.join(file.name for file in found) or 'none'}"
            )
        return found[0]


def run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """Run a command and return its standard output. Raises StepError with the end of what it printed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        if error.filename != words[0]:  # the working directory
            raise
        raise StepError(
            f"{words[0]}: not found; install it (CONTRIBUTING.md lists the packages), "
            'or name the other steps: make release-check STEPS="packages demo readme"'
        ) from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise StepError(f"{' '.join(words)}: exit code {done.returncode}\n{tail}")
    return done.stdout


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar file by tar: Python 3.11.2, Debian bookworm's, has no filter and later ones ask for one."""
    run("tar", "--extract", "--file", archive, "--directory", folder)


def make_environment(folder: Path, python: str = sys.executable) -> Path:
    """Make an empty environment and return its Python."""
    run(python, "-m", "venv", "--clear", folder)
    return folder / "bin" / "python"


def install(python: Path, *requirements: object, options: tuple[object, ...] = ()) -> None:
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
    run(python, *pip, *options, *requirements)


def megabytes(*paths: Path) -> float:
    """Return the size of the files and folders, in MB."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / MB


def at_most(name: str, size: float, limit: float) -> str:
    """Return the size in words. Raises StepError if it exceeds the limit; both in MB."""
    if size > limit:
        raise StepError(f"{name}: {size:.1f} MB, expected at most {limit:g} MB")
    return f"{name} {size:.1f} MB (at most {limit:g})"
