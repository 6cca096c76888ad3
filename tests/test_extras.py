"""The extras: each can be resolved by pip, and none pulls ONNX Runtime's CPU and GPU packages together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

import tacoglow
from tacoglow.cli.shared.parts import PARTS
from tacoglow.tests.test_install import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OFFLINE = ("NewConnectionError", "ConnectionError", "Temporary failure in name resolution")
GPU_EXTRAS = ("gpu-cu12", "gpu-cu13")
BROUGHT_BY_OTHERS = ("anyio", "h11")  # by starlette and uvicorn


def fails_without_an_index(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


def dry_run(*requirements: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    fails_without_an_index(subprocess.run([*pip, *requirements], capture_output=True, text=True, check=False))


@pytest.mark.builds
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the lowest versions have no wheels for this Python")
def test_the_lowest_versions_speak_and_serve(tiny_bundle: Path, tmp_path: Path) -> None:
    named = [*PROJECT["dependencies"], *(line for extra in ("cpu", "formats", "serve") for line in EXTRAS[extra])]
    lowest = [re.sub(r">=([^,]+).*", r"==\1", line) for line in named if not line.startswith("tacoglow[")]
    assert all("==" in line for line in lowest)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    fails_without_an_index(subprocess.run([*pip, *lowest], capture_output=True, text=True, check=False))
    environment = os.environ | {"PYTHONPATH": str(Path(tacoglow.__file__).parents[1])}
    tacoglow_command, voice = [python, "-m", "tacoglow"], [str(tiny_bundle), "--threads", "1"]
    for options in (["infer", *voice, "Hello.", "-o", "a.mp3", "--json"], ["serve", "--help"], ["doctor"]):
        command = [*tacoglow_command, *options]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    command = [*tacoglow_command, "serve", *voice, "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = ""
            while "startup complete" not in said:
                said += server.stderr.readline() or pytest.fail(said)
            (address,) = re.findall(r"^http(://127\.0\.0\.1:\d+/): ", said, re.MULTILINE)
            with connect(f"ws{address}v1/audio/speech/stream") as socket:
                for message in (
                    {"type": "session.config", "response_format": "pcm"},
                    {"type": "input.text", "text": "One."},
                ):
                    socket.send(json.dumps(message))
                socket.send(json.dumps({"type": "input.done"}))
                assert sum(len(message) for message in socket if isinstance(message, bytes)) > 1000
        finally:
            server.kill()


@pytest.mark.builds
@pytest.mark.parametrize("extra", GPU_EXTRAS)
def test_gpu_extra_can_be_resolved(extra: str) -> None:
    """TensorRT's own libraries come from NVIDIA's index when its package is built, so they are left out here."""
    tensorrt = [requirement for requirement in EXTRAS[extra] if requirement.startswith("tensorrt")]
    assert len(tensorrt) == 1
    dry_run("--no-deps", *tensorrt)
    dry_run(*(requirement for requirement in EXTRAS[extra] if requirement not in tensorrt))


@pytest.mark.parametrize("extra", GPU_EXTRAS)
def test_gpu_extra_brings_bindings_of_its_cuda(extra: str) -> None:
    cuda = extra.removeprefix("gpu-")
    names = [requirement.split(">")[0] for requirement in EXTRAS[extra]]
    assert f"cuda-core[{cuda}]" in names
    assert f"tensorrt-{cuda}" in names
    assert "onnxruntime-gpu[cuda,cudnn]" in names


def test_export_leaves_the_choice_of_onnxruntime() -> None:
    assert not [requirement for requirement in EXTRAS["export"] if requirement.startswith("onnxruntime")]
    for extra in GPU_EXTRAS:
        assert not [requirement for requirement in EXTRAS[extra] if requirement.startswith("onnxruntime>")]


def test_make_gpu_has_tensorrt_and_no_second_onnxruntime() -> None:
    """In an environment of the tests, TensorRT is one that cannot run on most GPUs, and ONNX Runtime the CPU's."""
    done = subprocess.run(["make", "-n", "-B", "gpu"], cwd=ROOT, capture_output=True, text=True, check=True)
    (extra,) = set(re.findall(r"--editable '\.\[(.+?)\]'", done.stdout))
    (own,) = {requirement for requirement in EXTRAS[extra] if requirement.startswith("tacoglow[")}
    assert own == "tacoglow[export,gpu-cu13]"
    assert "tools/gpu/day.py" in done.stdout


def test_doctor_knows_every_package_of_the_extras_that_users_install() -> None:
    known = {distribution for part in PARTS for distribution in part.distributions}
    for extra in ("cpu", "export", "hub", "plot", "formats", "serve", "client", "bench", *GPU_EXTRAS):
        names = {re.split(r"[\[<>=;, ]", requirement)[0] for requirement in EXTRAS[extra]} - {"tacoglow"}
        assert names <= known, extra
    for part in PARTS:
        (extra,) = re.findall(r"\[(.*)\]", part.install or "") or [None]
        if extra is not None and part.distributions[0] not in BROUGHT_BY_OTHERS:
            assert any(requirement.startswith(part.distributions) for requirement in EXTRAS[extra]), part
