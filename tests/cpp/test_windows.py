"""The library for Windows: built by MinGW, run under Wine with ONNX Runtime's DLL.

Not run: MSVC, and Windows itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.tests.tolerances import WINDOWS_DLL

from .conftest import SOURCE, download_onnxruntime

TEXT = "Dr. Smith paid $5. He was glad to see the 3rd cat."
COMPILER = "x86_64-w64-mingw32-g++-posix"
NAME = "żółw 語"  # outside of every code page together

pytestmark = [
    pytest.mark.builds,
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="g++-mingw-w64-x86-64-posix is not installed"),
]


def run(*command: object, environment: dict[str, str] | None = None) -> str:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with tacoglow's DLL, ONNX Runtime's, speak.exe and api.exe."""
    folder = tmp_path_factory.mktemp("windows")
    library = download_onnxruntime(folder, "win_amd64")
    options = ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-DTACOGLOW_WERROR=ON", "-DTACOGLOW_CHECKS=ON"]
    preset = ["cmake", "--preset", "windows", "-B", folder / "build", f"-DOnnxRuntime_ROOT={library}", *options]
    subprocess.run([str(part) for part in preset], cwd=SOURCE, check=True, capture_output=True)
    run("cmake", "--build", folder / "build", "--parallel", "2", "--target", "tacoglow_speak", "api")
    shutil.copy2(library / "onnxruntime.dll", folder / "build")
    shutil.copy2(folder / "build" / "checks" / "api.exe", folder / "build")
    return folder / "build"


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Wine runs programs, with a system of its own."""
    if shutil.which("wine") is None:
        pytest.skip("wine is not installed: built, and not run")
    folder = tmp_path_factory.mktemp("wine")
    own = {"WINEPREFIX": str(folder), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=", "LC_ALL": "C.UTF-8"}
    environment = os.environ | own
    run("wine", "wineboot", "--init", environment=environment)
    yield environment
    subprocess.run(["wineserver", "-k"], env=environment, check=False)


def test_the_dll_exports_the_header_alone(build: Path) -> None:
    header = (SOURCE / "include" / "tacoglow.h").read_text()
    declared = set(re.findall(r"^TACOGLOW_API [^(]*?(tacoglow_\w+)\(", header, re.MULTILINE))
    (library,) = build.glob("libtacoglow*.dll")
    tables = run("x86_64-w64-mingw32-objdump", "-p", library)
    exported = tables[tables.index("[Ordinal/Name Pointer] Table") :]
    assert set(re.findall(r"^\s*\[\s*\d+\](?:\s+\+base\[\s*\d+\]\s+\w+)?\s+(\w+)$", exported, re.MULTILINE)) == declared
    needed = set(re.findall(r"DLL Name: (\S+)", tables))
    assert {name for name in needed if not name.lower().startswith(("kernel32", "msvcrt", "api-ms-win"))} == {
        "onnxruntime.dll"
    }
    assert list(build.glob("libtacoglow*.dll.a"))  # the import library


def test_the_header_from_c(build: Path, wine: dict[str, str], tiny_bundle: Path, tmp_path: Path) -> None:
    assert run("wine", build / "api.exe", tiny_bundle, tmp_path / "api.wav", environment=wine) == "ok\n"


def test_speech_equals_python(build: Path, wine: dict[str, str], tiny_bundle: Path, tmp_path: Path) -> None:
    """Whole and streamed, with paths and a text that no code page has."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / NAME / "voice"))
    wav, listing = tmp_path / NAME / f"{NAME}.wav", tmp_path / NAME / "words.txt"
    text = f"{TEXT} {NAME}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Synthesizer.load(bundle, "onnxruntime", threads=1).say(text, seed=5)
    flags = ("-o", wav, "--seed", 5, "--wav", "float32", "--threads", 1, "--timestamps", listing)
    for way in ((), ("--stream", 0)):
        run("wine", build / "speak.exe", bundle, text, *flags, *way, environment=wine)
        rate, samples = wavfile.read(wav)
        assert rate == expected.sampling_rate
        assert samples.shape == expected.samples.shape
        np.testing.assert_allclose(samples, expected.samples, rtol=0, atol=WINDOWS_DLL)
    words = [line.split("\t")[2] for line in listing.read_text(encoding="utf-8").splitlines()]
    assert words == [word.text for word in expected.words]


def test_a_message_names_the_path(build: Path, wine: dict[str, str], tmp_path: Path) -> None:
    command = ["wine", str(build / "speak.exe"), str(tmp_path / NAME), "Hi.", "-o", str(tmp_path / "out.wav")]
    done = subprocess.run(command, capture_output=True, check=False, env=wine)
    assert done.returncode == 2
    assert f"{NAME}: not a bundle: cannot read manifest.json" in done.stderr.decode()
