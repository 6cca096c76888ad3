"""Programs that are built against the installed package only, in C++ with find_package and in C99 with pkg-config."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow.runtime.output.wav_writer import to_int16
from tacoglow.runtime.synthesizer import Synthesizer
from tacoglow.tests.tolerances import AARCH64

from .conftest import SOURCE, WHEEL, configure_and_build, download_onnxruntime
from .test_text import bundle_with

TEXT = "Dr. Smith paid $5. He was glad to see the 3rd cat."
CONSUMER = Path(__file__).parent / "consumer"

pytestmark = pytest.mark.builds


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "build"
    options = ("-DTACOGLOW_EXAMPLES=OFF", "-DTACOGLOW_CHECKS=OFF")
    return Path(configure_and_build(folder, ["tacoglow"], *options))


@pytest.fixture(scope="module")
def installed(build: Path) -> Path:
    """The installed package, moved to another folder afterwards, because a package is relocatable."""
    prefix = build.parent / "first"
    run("cmake", "--install", build, "--prefix", prefix)
    return Path(prefix.rename(build.parent / "moved"))


@pytest.fixture(scope="module", params=["find_package", "pkg-config"])
def program(request: pytest.FixtureRequest, installed: Path) -> Path:
    folder = installed.parent / str(request.param)
    if request.param == "find_package":
        run("cmake", "-S", CONSUMER, "-B", folder, f"-DCMAKE_PREFIX_PATH={installed}")
        run("cmake", "--build", folder)
        return folder / "say"
    folder.mkdir()
    pc = installed / "lib" / "pkgconfig" / "tacoglow.pc"
    assert "-ltacoglow" in pc.read_text()
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{installed}/include", f"-L{installed}/lib"]
    run("cc", *flags, CONSUMER / "say.c", "-ltacoglow", f"-Wl,-rpath,{installed}/lib", "-o", folder / "say")
    return folder / "say"


@pytest.fixture(scope="module")
def own_symbols(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice with its own symbols and cleaners."""
    bundle = tmp_path_factory.mktemp("own_symbols") / "voice"
    shutil.copytree(tiny_bundle, bundle)
    symbols = ["_", *"abcdefghijklmnopqrstuvwxyz é.,!?$5"]
    symbols += [f"unused{i}" for i in range(148 - len(symbols))]
    return bundle_with(tiny_bundle, bundle, symbols=symbols, cleaners=["basic_cleaners"])


@pytest.mark.parametrize("voice", ["tiny_bundle", "own_symbols", "demo_voice"])
def test_text_to_wav_equals_python(program: Path, request: pytest.FixtureRequest, tmp_path: Path, voice: str) -> None:
    bundle = request.getfixturevalue(voice)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Synthesizer.load(bundle, "onnxruntime", threads=1).say(TEXT, seed=5)
    run(program, bundle, TEXT, tmp_path / "out.wav")
    rate, samples = wavfile.read(tmp_path / "out.wav")
    assert rate == expected.sampling_rate
    np.testing.assert_array_equal(samples, expected.samples)


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
def test_the_page_s_program_and_command(installed: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """docs/cpp.md's C program, built by its command and run as it stands there."""
    page = (SOURCE.parent / "docs" / "cpp.md").read_text()
    (source,) = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(r"^cc program\.c .*$", page, re.MULTILINE)
    (tmp_path / "program.c").write_text(source)
    (tmp_path / "voice").symlink_to(tiny_bundle)
    environment = ("-C", tmp_path, "-u", "LD_LIBRARY_PATH", f"PKG_CONFIG_PATH={installed}/lib/pkgconfig")
    run("env", *environment, "sh", "-ec", f"{command} -Wall -Wextra -Werror; ./program")
    text = "Dr. Smith paid $5 for 2 books. He was glad."
    expected = Synthesizer.load(tiny_bundle, "onnxruntime").say(text, seed=7, retries=0)  # the library's default
    rate, samples = wavfile.read(tmp_path / "out.wav")
    assert rate == expected.sampling_rate
    np.testing.assert_array_equal(samples, to_int16(expected.samples))


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
def test_pkg_config(installed: Path) -> None:
    flags = run("env", f"PKG_CONFIG_PATH={installed}/lib/pkgconfig", "pkg-config", "--cflags", "--libs", "tacoglow")
    assert f"{installed}/lib/pkgconfig/../../include" in flags
    assert "-ltacoglow" in flags


def test_only_the_header_is_exported(installed: Path) -> None:
    header = (installed / "include" / "tacoglow.h").read_text()
    declared = set(re.findall(r"^TACOGLOW_API [^(]*?(tacoglow_\w+)\(", header, re.MULTILINE))
    listed = run("nm", "-D", "--defined-only", installed / "lib" / "libtacoglow.so").split()
    assert {name for name in listed if "tacoglow" in name} == declared
    assert len(listed) == 3 * len(declared)


def test_soname_and_version(installed: Path) -> None:
    header = (installed / "include" / "tacoglow.h").read_text()
    version = [re.search(rf"VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]  # type: ignore[index]
    assert (installed / "lib" / f"libtacoglow.so.{'.'.join(version)}").exists()
    dynamic = run("readelf", "-d", installed / "lib" / "libtacoglow.so")
    assert f"libtacoglow.so.{version[0]}.{version[1]}]" in dynamic
    assert "[$ORIGIN]" in dynamic
    assert f"VERSION {'.'.join(version)} " in (SOURCE / "CMakeLists.txt").read_text()


def test_archive(build: Path, installed: Path) -> None:
    archive = build.parent / "archive"
    run("cpack", "--config", build / "CPackConfig.cmake", "-B", archive)
    listing = run("tar", "tzf", next(archive.glob("tacoglow-*.tar.gz")))
    for name in ("include/tacoglow.h", "lib/libonnxruntime.so.1", "lib/cmake/tacoglow/tacoglow-config.cmake"):
        assert name in listing


def test_memory_does_not_grow(installed: Path, tiny_bundle: Path) -> None:
    """Mixed lengths, batches, streams and denoising: 240 requests take at most 1.3 times the memory of 20."""
    program = installed.parent / "memory"
    flags = ["-std=c99", "-Wall", "-Werror", f"-I{installed}/include", f"-L{installed}/lib"]
    run("cc", *flags, CONSUMER / "memory.c", "-ltacoglow", f"-Wl,-rpath,{installed}/lib", "-o", program)
    early, late = map(int, run(program, tiny_bundle).split())
    assert late <= 1.3 * early


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="g++-aarch64-linux-gnu is not installed")
def test_aarch64_speaks_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    """Cross-compiles with ONNX Runtime's aarch64 library, and speaks under qemu-user, if both can be had."""
    build = tmp_path / "build"
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17)]
    library = next(download_onnxruntime(tmp_path, *platforms).glob("libonnxruntime.so.*"))
    preset = ["cmake", "--preset", "aarch64", "-B", build, "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1"]
    subprocess.run([*map(str, preset), f"-DOnnxRuntime_LIBRARY={library}"], cwd=SOURCE, check=True, capture_output=True)
    run("cmake", "--build", build, "--parallel", "2", "--target", "tacoglow_speak")
    assert "AArch64" in run("readelf", "-h", build / "libtacoglow.so")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-user is not installed: built, and not run")
    expected = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, seed=5)
    emulated = ("qemu-aarch64", "-L", aarch64_system(tmp_path / "system"), build / "speak")
    flags = ("-o", tmp_path / "out.wav", "--seed", 5, "--wav", "float32", "--threads", 1)
    for way in ((), ("--stream", 0)):
        run(*emulated, tiny_bundle, TEXT, *flags, *way)
        rate, samples = wavfile.read(tmp_path / "out.wav")
        assert rate == expected.sampling_rate
        assert samples.shape == expected.samples.shape
        np.testing.assert_allclose(samples, expected.samples, rtol=0, atol=AARCH64)


def aarch64_system(folder: Path) -> Path:
    """Debian's cross libraries and a processor: with the host's /proc/cpuinfo, ONNX Runtime crashes."""
    (folder / "proc").mkdir(parents=True)
    (folder / "lib").symlink_to("/usr/aarch64-linux-gnu/lib")
    core = "Features: fp asimd\nCPU implementer: 0x41\nCPU architecture: 8\nCPU variant: 0x0\nCPU part: 0xd08\n\n"
    cores = (f"processor: {i}\n{core}" for i in range(os.cpu_count() or 1))
    (folder / "proc" / "cpuinfo").write_text("".join(cores).replace(":", "\t:"))
    return folder


def test_wheel_has_the_library() -> None:
    assert list(WHEEL.glob("libonnxruntime.so.*"))
