"""Fixtures: the C++ runtime, built in the background while other tests run, and TorchScript voices.

The builds are kept in pytest's cache, so that later runs compile only what changed; `pytest --cache-clear` removes
them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch

from tacoglow.benchmarks.voices import demo_models
from tacoglow.export import export_onnx
from tacoglow.export.torchscript import export_torchscript
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.tests.runtime.backends.cuda.conftest import cuda, half_bundle, half_reduced_bundle  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from ..conftest import TinyCheckpoints

SOURCE = Path(__file__).parents[2] / "cpp"
TOOLS = ("cmake", "make", "cc", "c++")
BUILDS = pytest.StashKey[dict[str, "Future[Path]"]]()
WHEEL = Path(onnxruntime.__file__).parent / "capi"  # with ONNX Runtime's library
HEADERS = [
    Path(root) / "nlohmann" / "json.hpp" for root in ("/usr/include", "/usr/local/include", "/opt/homebrew/include")
]
SANITIZED = ("-DTACOGLOW_SANITIZE=address,undefined", "-DCMAKE_CXX_FLAGS=-Og")
TORCH = ("-DTACOGLOW_TORCH=ON", f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}")
# Fixtures, and the options and programs of each one's build.
PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "programs": (
        SANITIZED,
        (
            *("tacoglow_speak", "tacoglow_server", "api", "checks", "fuzz_manifest", "fuzz_api", "allocations"),
            *("fuzz_fake", "scheduler_check", "scheduler_fake", "out_of_memory"),
        ),
    ),
    "thread_programs": (
        (
            "-DTACOGLOW_SANITIZE=thread",
            "-DCMAKE_CXX_FLAGS=-O1",
            "-DTACOGLOW_ONNXRUNTIME=OFF",
            "-DTACOGLOW_EXAMPLES=OFF",
        ),
        ("scheduler_fake", "fuzz_fake"),
    ),
    "torch_programs": ((*SANITIZED, *TORCH), ("tacoglow_speak",)),
}
# Three frames per step; two, which runs the same code, with the marker `builds`. Weights as in the suite's fixture.
SEVERAL_FRAMES_PER_STEP = pytest.mark.parametrize(
    "reduced_checkpoint",
    [pytest.param((2, 20), marks=pytest.mark.builds), (3, 51)],
    ids=["r=2", "r=3"],
    indirect=True,
    scope="session",
)


def configure_and_build(folder: Path, targets: list[str], *options: str) -> Path:
    """Build these programs with warnings as errors, or what changed of them; a failure shows the compiler's output."""
    if any(shutil.which(tool) is None for tool in TOOLS) or not any(header.exists() for header in HEADERS):
        give_up = pytest.fail if os.environ.get("TACOGLOW_REQUIRE_CPP") else pytest.skip  # set in CI
        give_up(f"the C++ runtime needs {', '.join(TOOLS)} and nlohmann-json3-dev")
    configure = ["cmake", "-UOnnxRuntime_*", "-S", str(SOURCE), "-B", str(folder), "-DCMAKE_BUILD_TYPE=None"]
    configure.append(f"-DOnnxRuntime_ROOT={WHEEL}")
    for command in (
        [*configure, "-DTACOGLOW_WERROR=ON", "-DTACOGLOW_CHECKS=ON", *options],
        ["cmake", "--build", str(folder), "--parallel", "2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def download_onnxruntime(folder: Path, *platforms: str) -> Path:
    """Return the folder of ONNX Runtime's library for another platform, from the wheel of the installed version; skips
    the test where it cannot be downloaded."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps"]
    wheel = f"onnxruntime=={onnxruntime.__version__}"
    options = [f"--platform={platform}" for platform in platforms]
    done = subprocess.run([*command, *options, f"--dest={folder}", wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ONNX Runtime's wheel cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    shutil.unpack_archive(next(folder.glob("*.whl")), folder / "wheel", "zip")
    return folder / "wheel" / "onnxruntime" / "capi"


def build_once(folder: Path, name: str) -> Path:
    """Build one fixture's programs, after any other test run that builds in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache = folder / "CMakeCache.txt"
        if cache.exists() and f"CMAKE_HOME_DIRECTORY:INTERNAL={SOURCE}\n" not in cache.read_text():
            cache.unlink()  # this folder was copied from elsewhere
        options, targets = PROGRAMS[name]
        return configure_and_build(folder, list(targets), *options)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder last, so that the build runs in parallel with the others."""
    items.sort(key=lambda item: Path(__file__).parent in item.path.parents)


def pytest_collection_finish(session: pytest.Session) -> None:
    needed = {name for item in session.items for name in PROGRAMS if name in getattr(item, "fixturenames", [])}
    if session.config.option.collectonly or not needed:
        return
    builder, folder = ThreadPoolExecutor(1), Path(session.config.cache.mkdir("cpp"))
    session.stash[BUILDS] = {name: builder.submit(build_once, folder / name, name) for name in sorted(needed)}


def pytest_sessionfinish(session: pytest.Session) -> None:
    wait(session.stash.get(BUILDS, {}).values())


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """Folder with `speak` and `server` for ONNX Runtime, and the test programs in its subfolder `checks`.

    Everything except ONNX Runtime is built with the address and undefined-behaviour sanitizers, so every test here also
    detects memory errors.
    """
    return request.session.stash[BUILDS]["programs"].result()


@pytest.fixture(scope="session")
def torch_programs(request: pytest.FixtureRequest) -> Path:
    """Folder with `speak` for ONNX Runtime and LibTorch, built likewise."""
    return request.session.stash[BUILDS]["torch_programs"].result()


@pytest.fixture(scope="session")
def thread_programs(request: pytest.FixtureRequest) -> Path:
    """Folder whose subfolder `checks` has the programs on fake backends, with the thread sanitizer."""
    return request.session.stash[BUILDS]["thread_programs"].result()


@pytest.fixture(scope="session")
def demo_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the demo voice. Tests must not change it."""
    folder = tmp_path_factory.mktemp("demo") / "voice"
    demo = demo_models()
    export_onnx(demo.tacotron2, demo.vocoder, folder, voice=demo.voice)
    return folder


@pytest.fixture(scope="session")
def tiny_torchscript(
    tiny_bundle: Path, tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny voice with TorchScript modules. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("tiny_torchscript") / "voice"
    shutil.copytree(tiny_bundle, folder)
    export_torchscript(load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow), folder)
    return folder
