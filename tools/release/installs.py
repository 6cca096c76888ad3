"""Installs the wheels into clean environments, and uses them there: commands, Python, the server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from pathlib import Path

from ..pages.blocks import parse_blocks, session_script
from .steps import ROOT, TEXT, Folders, StepError, at_most, install, make_environment, megabytes, run

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CPU_MB = 220.0  # an environment of tacoglow[cpu], without pip
NOT_OURS = ("pip", "setuptools", "tacoglow_demo_voice")  # what venv and the extra `demo` add
SERVER_SECONDS = 120.0


def run_readme(folders: Folders) -> str:
    """Run README's blocks with the installed wheel, in an empty folder, as after its `install` block."""
    python = make_environment(folders.environment("readme"))
    wheel, demo = folders.one("tacoglow-*.whl"), folders.one("tacoglow_demo_voice-*.whl")
    install(python, f"{wheel}[export,cpu,plot]", demo, options=("--constraint", ROOT / "constraints.txt"))
    folder = folders.voice.parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run("bash", "-c", session_script(ROOT / "README.md"), cwd=folder, PATH=f"{python.parent}:/usr/bin:/bin")
    return f"{folder / 'hello.wav'}: {_seconds(folder / 'hello.wav'):.2f} s"


def speak_everywhere(folders: Folders) -> str:
    """Run README's block of an installed release on every Python that is here, on this one without a network."""
    said = []
    for version in PYTHONS:
        interpreter = find_python(version)
        if interpreter is None:
            said.append(f"{version} is not here")
            continue
        python = make_environment(folders.environment(version), interpreter)
        is_this = version == "{}.{}".format(*sys.version_info)
        index = _fill_wheelhouse(folders, python) if is_this else {"PIP_FIND_LINKS": str(folders.dist)}
        seconds = speak(python, folders.work / "spoken" / version, index)
        said.append(f"{version} speaks {seconds:.2f} s" + (" without a network" if is_this else ""))
        if is_this:
            install(python, "tacoglow[serve]", options=("--no-index", "--find-links", folders.work / "wheelhouse"))
            said.append(serve(python, folders.work / "served"))
    return "; ".join(said)


def _fill_wheelhouse(folders: Folders, python: Path) -> dict[str, str]:
    """Download what others publish, and return pip's settings to install from our folder and that one alone."""
    wheelhouse = folders.work / "wheelhouse"
    shutil.rmtree(wheelhouse, ignore_errors=True)  # pip replaces no file of the same name, such as an earlier check's
    pip = (python, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--only-binary", ":all:")
    run(*pip, "--dest", wheelhouse, "--find-links", folders.dist, "tacoglow[demo,serve]")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}


def speak(python: Path, folder: Path, index: dict[str, str]) -> float:
    """Run README's block `release` in an empty folder, with pip's settings `index`; return the speech's seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (block,) = [block for block in parse_blocks(ROOT / "README.md") if "release" in block.flags]
    settings = {"PATH": f"{python.parent}:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **index}
    run("bash", "-ec", block.content, cwd=folder, **settings)
    printed = run(python.parent / "tacoglow", "--version", cwd=folder)
    commit = run("git", "rev-parse", "--short=12", "HEAD", cwd=ROOT).strip()
    if f"(commit {commit})" not in printed or "backends: onnxruntime" not in printed:
        raise StepError(f"tacoglow --version: expected commit {commit} and the backend onnxruntime, got {printed!r}")
    return _seconds(folder / "hello.wav")


def measure_cpu(folders: Folders) -> str:
    """Return the size of an environment of tacoglow[cpu]."""
    python = make_environment(folders.environment("cpu"))
    install(python, f"{folders.one('tacoglow-*.whl')}[cpu]")
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    packages = [path for path in site.iterdir() if not path.name.startswith(NOT_OURS)]
    return at_most("an environment of tacoglow[cpu]", megabytes(*packages), CPU_MB)


def serve(python: Path, folder: Path) -> str:
    """Serve the demo voice, and have it speak over HTTP."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        command = [str(python.parent / "tacoglow"), "serve", "--demo", "--port", str(port)]
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        (folder / "served.wav").write_bytes(ask(port, server))
    finally:
        server.terminate()
        server.wait(timeout=60)
    return f"served {_seconds(folder / 'served.wav'):.2f} s"


def ask(port: int, server: subprocess.Popen[bytes]) -> bytes:
    """Return the speech of a server that is starting, as wav. Raises StepError if it ends, or not in time."""
    url, body = f"http://127.0.0.1:{port}/v1/audio/speech", {"input": TEXT, "response_format": "wav", "stream": False}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    end = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
            raise StepError(f"tacoglow serve: answered {error.code}: {reason}") from error
        except urllib.error.URLError:  # it does not listen yet
            time.sleep(0.2)
    raise StepError(f"tacoglow serve: no answer within {SERVER_SECONDS:g} s, exit code {server.poll()}")


def find_python(version: str) -> str | None:
    """Return this version's interpreter: from PATH, or one of pyenv's."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = shutil.which(f"python{version}")
    if found is not None and ".pyenv/shims" not in found:  # a shim fails unless pyenv has selected its version
        return found
    return str(pyenv[-1]) if pyenv else None


def _seconds(path: Path) -> float:
    with wave.open(str(path)) as audio:
        seconds = float(audio.getnframes() / audio.getframerate())
    if not 1.0 < seconds < 4.0:
        raise StepError(f"{path}: expected one to four seconds of {TEXT!r}, got {seconds:.2f} s")
    return seconds
