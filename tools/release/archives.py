"""Archives of the C++ library: built from the source archive, unpacked, and used by a program that has nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .steps import ROOT, TEXT, Folders, StepError, megabytes, run, unpack

AARCH64, MINGW = "aarch64-linux-gnu", "x86_64-w64-mingw32"
EXPAT_AARCH64 = Path("/usr/lib/aarch64-linux-gnu/libexpat.so")  # libexpat1-dev:arm64
JOBS = 2
CONSUMER = ROOT / "tests" / "cpp" / "consumer"
SAME_SPEECH = """
import sys, wave, numpy, tacoglow
bundle, text, path = sys.argv[1:]
spoken = tacoglow.Synthesizer.load(bundle, "onnxruntime", threads=1).say(text, seed=5)
samples = numpy.fromfile(path, "<f4")[-len(spoken.samples):]  # after the header
assert len(samples) == len(spoken.samples), (len(samples), len(spoken.samples))
assert numpy.abs(samples - spoken.samples).max() < {tolerance}, numpy.abs(samples - spoken.samples).max()
"""


@dataclass(frozen=True)
class Target:
    name: str
    system: str  # in the archive's name
    pip_platforms: tuple[str, ...]  # of the wheel that has ONNX Runtime's library
    toolchain: str = ""  # file in cpp/cmake; "": this machine's compiler
    compiler: str = "c++"  # of that toolchain
    package: str = ""  # that has the compiler
    emulator: str = ""  # runs its programs
    suffix: str = ".tar.gz"  # of the archive
    own_files: tuple[str, ...] = ("lib/libtacoglow.so", "lib/libonnxruntime.so.1")
    text: str = TEXT
    # A different processor rounds differently; with the same library the samples are the same.
    tolerance: str = "1e-3"


X86_64 = Target("x86_64", "Linux-x86_64", ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64"), tolerance="1e-6")
ARM = Target(
    "aarch64",
    "Linux-aarch64",
    ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64"),
    f"{AARCH64}.cmake",
    f"{AARCH64}-g++",
    f"g++-{AARCH64}",
    "qemu-aarch64",
    text="Hi.",
)
WINDOWS = Target(
    "windows",
    "Windows-x86_64",
    ("win_amd64",),
    f"{MINGW}.cmake",
    f"{MINGW}-g++-posix",
    "g++-mingw-w64-x86-64-posix",
    "wine",
    ".zip",
    ("bin/libtacoglow.dll", "bin/onnxruntime.dll", "lib/libtacoglow.dll.a"),
    text="Hi.",
)
# ONNX Runtime reads /proc/cpuinfo when it is loaded, and crashes on this machine's, which qemu before 8.1 shows it.
CPUINFO = """processor\t: 0
BogoMIPS\t: 100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


def build_archive(folders: Folders, target: Target) -> str:
    """Build the library, pack it, unpack it elsewhere, and run a program that is built with the unpacked files."""
    if shutil.which(target.compiler) is None:
        return f"left out: {target.package} is not installed"
    library = find_onnxruntime(folders, target)
    build = folders.work / f"cpp-{target.name}"
    tools = [f"-DCMAKE_TOOLCHAIN_FILE={folders.source}/cpp/cmake/{target.toolchain}"] if target.toolchain else []
    options = [f"-DOnnxRuntime_ROOT={library}", "-DTACOGLOW_EXAMPLES=OFF", "-DCMAKE_BUILD_TYPE=Release", *tools]
    if target is ARM and EXPAT_AARCH64.exists():
        options += [f"-DEXPAT_LIBRARY={EXPAT_AARCH64}", f"-DEXPAT_INCLUDE_DIR={expat_headers(folders.work / 'expat')}"]
    run("cmake", "-S", folders.source / "cpp", "-B", build, *options)
    run("cmake", "--build", build, "--parallel", JOBS)
    shutil.rmtree(build / "packed", ignore_errors=True)  # an earlier version's archive would be a second one
    run("cpack", "--config", build / "CPackConfig.cmake", "-B", build / "packed")
    (packed,) = (build / "packed").glob(f"*-{target.system}{target.suffix}")
    for old in folders.dist.glob(f"tacoglow-*-{target.system}{target.suffix}"):
        old.unlink()
    archive = Path(shutil.copy2(packed, folders.dist))
    unpacked = folders.work / f"archive-{target.name}"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    if target.suffix == ".zip":
        with zipfile.ZipFile(archive) as unpacker:
            unpacker.extractall(unpacked)
    else:
        unpack(archive, unpacked)
    (prefix,) = unpacked.iterdir()
    for needed in ("share/doc/tacoglow/LICENSE", "include/tacoglow.h", *target.own_files):
        if not (prefix / needed).exists():
            raise StepError(f"{archive.name}: {needed} is missing")
    used = _use(folders, target, prefix, tools)
    return f"{archive.name} {megabytes(archive):.1f} MB, {_needs(target, prefix)}; {used}"


def expat_headers(folder: Path) -> Path:
    """Return a folder that has Expat's headers alone: /usr/include would hide the cross compiler's own."""
    folder.mkdir(exist_ok=True)
    for name in ("expat.h", "expat_external.h"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(Path("/usr/include") / name)
    return folder


def find_onnxruntime(folders: Folders, target: Target) -> Path:
    """Download ONNX Runtime's wheel for the target, and return the folder of its library."""
    folder, wheels = folders.work / f"onnxruntime-{target.name}", folders.work / f"wheel-{target.name}"
    for old in (folder, wheels):  # an earlier check's may be of another version
        shutil.rmtree(old, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
    platforms = [f"--platform={platform}" for platform in target.pip_platforms]
    pinned = ("onnxruntime", "-c", ROOT / "constraints.txt")
    run(*pip, "--only-binary", ":all:", *platforms, "--dest", wheels, *pinned)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder / "onnxruntime" / "capi"


def _use(folders: Folders, target: Target, prefix: Path, tools: list[str]) -> str:
    """Build a program with find_package in the unpacked archive, and have it speak what Python speaks."""
    consumer = folders.work / f"consumer-{target.name}"
    shutil.rmtree(consumer, ignore_errors=True)
    places = [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_FIND_ROOT_PATH={prefix}"]
    run("cmake", "-S", CONSUMER, "-B", consumer, *places, *tools)
    run("cmake", "--build", consumer)
    if target.emulator and shutil.which(target.emulator) is None:
        return f"a program was built with it and not run: {target.emulator} is not installed"
    wav = consumer / "out.wav"
    _speak(folders, target, prefix, consumer, wav)
    python = folders.environment("readme") / "bin" / "python"
    script = SAME_SPEECH.replace("{tolerance}", target.tolerance)
    run(python, "-c", script, folders.voice, target.text, wav, cwd=consumer)
    return "a program was built with it, and spoke what Python speaks"


def _speak(folders: Folders, target: Target, prefix: Path, consumer: Path, wav: Path) -> None:
    speaking = (folders.voice, target.text, wav)
    if target is WINDOWS:
        own = ("env", f"WINEPREFIX={folders.work}/wine", "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=")
        run(*own, f"WINEPATH={prefix}/bin", "wine", consumer / "say.exe", *speaking)
        subprocess.run([*own, "wineserver", "-k"], check=False)  # it fails if the server has ended by itself
    elif target is ARM:
        run(target.emulator, "-L", make_root(folders.work / "root"), consumer / "say", *speaking)
    else:
        run(consumer / "say", *speaking)


def make_root(folder: Path) -> Path:
    """Return the folder in which the emulator looks for files first: with the target's libraries and a processor."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "proc").mkdir(parents=True)
    (folder / "lib").symlink_to(f"/usr/{AARCH64}/lib")
    (folder / "proc" / "cpuinfo").write_text(CPUINFO)
    return folder


def _needs(target: Target, prefix: Path) -> str:
    """Return what the library needs: the newest version of glibc that it refers to, and whether it lacks Expat."""
    if target is WINDOWS:
        return "without SSML"
    library = prefix / "lib" / "libtacoglow.so"
    symbols = run("readelf", "--dyn-syms", "--wide", library)
    versions = [(int(major), int(minor)) for major, minor in re.findall(r"@GLIBC_(\d+)\.(\d+)", symbols)]
    ssml = "" if "libexpat" in run("readelf", "-d", library) else ", without SSML"
    return "needs glibc {}.{}".format(*max(versions)) + ssml
