"""Builds the source archive and the wheels, and checks their metadata, their contents and their sizes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .gates import read_version
from .steps import DEMO, ROOT, Folders, at_most, megabytes, run, unpack

WHEEL_MB = 1.5
DEMO_WHEEL_MB = 100.0  # PyPI's limit
BUILD = (sys.executable, "-m", "build", "--installer", "pip")


def build_packages(folders: Folders) -> str:
    """Build the source archive of this checkout, and the wheel from that archive."""
    shutil.rmtree(folders.dist, ignore_errors=True)  # nothing of an earlier check is released
    run(*BUILD, "--outdir", folders.dist, ROOT)
    wheel, archive = folders.one("tacoglow-*-py3-none-any.whl"), folders.one(f"tacoglow-{read_version(ROOT)}.tar.gz")
    _check(wheel, archive)
    shutil.rmtree(folders.source, ignore_errors=True)
    unpack(archive, folders.source.parent)
    return f"{at_most(wheel.name, megabytes(wheel), WHEEL_MB)}, {archive.name} {megabytes(archive):.1f} MB"


def build_demo_voice(folders: Folders, bundle: Path | None) -> str:
    """Build the wheel of the demo voice; its bundle is None before README's commands have exported it."""
    for file in folders.dist.glob("tacoglow_demo_voice-*"):
        file.unlink()
    staged = folders.work / "demo-voice"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(DEMO, staged)
    shutil.copy2(ROOT / "LICENSE", staged)
    if bundle is not None:
        shutil.copytree(bundle, staged / "bundle")
    run(*BUILD, "--wheel", "--outdir", folders.dist, staged)
    wheel = folders.one("tacoglow_demo_voice-*.whl")
    _check(wheel)
    return at_most(wheel.name, megabytes(wheel), DEMO_WHEEL_MB)


def _check(*packages: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    for package in packages:
        if package.suffix == ".whl":
            no_modules = ["--ignore", "W010"] if package.name.startswith("tacoglow_demo_voice") else []
            run(sys.executable, "-m", "check_wheel_contents", "--no-config", *no_modules, package)


def write_checksums(folders: Folders) -> str:
    """Write the bill of materials, and the SHA-256 of everything that is released, as sha256sum writes them."""
    run("make", "--silent", "sbom", cwd=ROOT)
    shutil.copy2(ROOT / "build" / "sbom.json", folders.dist)
    sums = folders.dist / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    files = sorted(file.name for file in folders.dist.iterdir())
    sums.write_text(run("sha256sum", *files, cwd=folders.dist))
    run("sha256sum", "--check", "--strict", "--quiet", sums.name, cwd=folders.dist)
    return f"{len(files)} files"
