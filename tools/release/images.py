"""`make images-check`: executes the RUN lines of the Dockerfiles, and uses the last stage as its user would.

There is no container engine: every stage is a copy of one root folder of Debian, with Python, and its commands run in a
chroot. So neither the real bases (Python's, NVIDIA's Triton) nor the engine's own rules are tried. Needs root and
debootstrap.

    python -m tacoglow.tools.release.images VOICE    # a bundle to serve
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .installs import ask
from .manifests import SERVING
from .steps import ROOT, StepError, megabytes, run

BASE_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
SUITE = "bookworm"  # of the gateway's base, python:3.12-slim-bookworm
HOST_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")  # for the package index
COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "make", "ld", "as")
PORT = 8880  # of the gateway's image


def make_base(folder: Path) -> Path:
    """Make Debian's root folder unless it is there; one that was cut off is made again."""
    ready = folder.with_name("base.ready")
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, folder)
        (folder / "usr/bin/python").symlink_to("python3")
        for marker in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()  # the real bases have none
        ready.touch()
    for file in HOST_FILES:
        shutil.copy2(file, folder / file.removeprefix("/"))
    return folder


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, and what follows each, in one line."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in re.sub(r"\\\n", "", text).splitlines() if line]


class Stage:
    """A stage of an image: its root folder, and what has been said of it."""

    def __init__(self, root: Path, base: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        run("cp", "--archive", base, root)
        self.root = root
        self.user, self.entry, self.health = "0:0", [""], [""]
        self.arguments: dict[str, str] = {}

    def command(self, *words: object) -> list[str]:
        return ["chroot", f"--userspec={self.user}", str(self.root), *map(str, words)]

    def run(self, line: str, context: Path) -> None:
        """Execute a RUN line; the context is at /src meanwhile if it is mounted there."""
        mount, _, command = line.partition(" ") if line.startswith("--mount=type=bind,target=/src") else ("", "", line)
        if mount:
            shutil.copytree(context, self.root / "src")
        settings = [f"{name}={value}" for name, value in {"HOME": "/root", **self.arguments}.items()]
        run(*self.command("env", *settings, "sh", "-ec", command))
        if mount:
            shutil.rmtree(self.root / "src")

    def copy(self, source: Path, target: str) -> None:
        place = self.root / target.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)


def build(file: Path, context: Path, work: Path, base: Path) -> Stage:
    """Follow a Dockerfile to the end of its last stage."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {"EXTRA": "cpu"}  # of the Triton image, for CPUs
    stage: Stage | None = None
    for instruction, rest in instructions(file):
        if instruction == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stage = stages[name] = Stage(work / f"{file.name}-{name}", base)
        elif instruction == "ARG":
            name, _, value = rest.partition("=")
            arguments.setdefault(name, value)
        elif stage is None:
            raise StepError(f"{file.name}: {instruction} before FROM")
        elif instruction == "RUN":
            stage.arguments = arguments
            stage.run(rest, context)
        elif instruction == "COPY":
            words = rest.split()
            origin = stages[words[0].removeprefix("--from=")].root if words[0].startswith("--from=") else context
            stage.copy(origin / words[-2].removeprefix("/"), words[-1])
        elif instruction == "USER":
            stage.user = rest
        elif instruction == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        elif instruction == "HEALTHCHECK":
            stage.health = json.loads(rest[rest.index("CMD ") + 4 :])
    assert stage is not None
    return stage


def check_left(file: Path, stage: Stage) -> None:
    """Raise StepError if the last stage has a compiler, or files that its user may change outside of /tmp."""
    path = [stage.root / folder for folder in ("usr/bin", "usr/local/bin", "opt/tacoglow/bin")]
    found = [name for name in COMPILERS for folder in path if os.path.lexists(folder / name)]
    if found:
        raise StepError(f"{file.name}: the last stage has {', '.join(found)}; build in an earlier one")
    user = stage.user.partition(":")[0]
    loose = ("(", "-perm", "/o+w", "-o", "-user", user, ")", "-not", "-type", "l", "-not", "-type", "c")
    shared = [word for name in ("tmp", "var/tmp", "run/lock") for word in ("-not", "-path", stage.root / name)]
    writable = run("find", stage.root, "-xdev", *loose, *shared).split()
    if writable:
        raise StepError(f"{file.name}: user {stage.user} may write {', '.join(writable[:5])}; expected /tmp alone")


def serve(stage: Stage, voice: Path) -> str:
    """Serve a voice as the gateway's image does, ask for speech, and run the health check."""
    stage.copy(voice, "/voice")
    words = [*stage.entry, "/voice", "--threads", "1"]  # on the image's own port, which the health check asks
    with (stage.root.parent / "served.log").open("w") as log:
        server = subprocess.Popen(stage.command(*words), stdout=log, stderr=log)
    try:
        ask(PORT, server)
        run(*stage.command(*stage.health))
    finally:
        server.terminate()
        server.wait(timeout=60)
    return "serves, and is healthy"


def main() -> int:
    work = ROOT / "build" / "images"
    work.mkdir(parents=True, exist_ok=True)
    try:
        if os.geteuid() or shutil.which("debootstrap") is None:
            raise StepError("expected root, for chroot, and debootstrap: apt-get install debootstrap")
        context = work / "context"  # the files of this commit, as a builder that respects .dockerignore gets them
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        run("sh", "-c", f"git -C '{ROOT}' archive HEAD | tar -x -C '{context}'")
        base = make_base(work / "base")
        for file in sorted(SERVING.glob("Dockerfile*")):
            stage = build(file, context, work, base)
            check_left(file, stage)
            served = f", {serve(stage, Path(sys.argv[1]))}" if "tacoglow" in stage.entry[0] else ""
            print(f"{file.name}: its RUN lines work{served}, {megabytes(stage.root):.0f} MB", flush=True)
    except StepError as error:
        print(f"images-check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
