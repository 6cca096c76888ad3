"""Fixtures: the C++ runtime, built once per session in parallel with the other tests, and a TorchScript voice."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch

from tacoglow.export.torchscript import export_torchscript
from tacoglow.models import load_tacotron2, load_waveglow

if TYPE_CHECKING:
    from ..conftest import TinyCheckpoints

SOURCE = Path(__file__).parents[2] / "runtime" / "cpp"
TOOLS = ("cmake", "make", "cc", "c++")
BUILD = pytest.StashKey[tuple[Path, "Future[Path]"]]()
WHEEL = Path(onnxruntime.__file__).parent / "capi"  # with ONNX Runtime's library
HEADERS = [
    Path(root) / "nlohmann" / "json.hpp" for root in ("/usr/include", "/usr/local/include", "/opt/homebrew/include")
]


def configure_and_build(folder: Path, targets: list[str], *options: str) -> Path:
    """Build these programs with warnings as errors; a failure shows the compiler's output."""
    if any(shutil.which(tool) is None for tool in TOOLS) or not any(header.exists() for header in HEADERS):
        give_up = pytest.fail if os.environ.get("TACOGLOW_REQUIRE_CPP") else pytest.skip  # set in CI
        give_up(f"the C++ runtime needs {', '.join(TOOLS)} and nlohmann-json3-dev")
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), "-DCMAKE_BUILD_TYPE=None"]
    configure.append(f"-DOnnxRuntime_ROOT={WHEEL}")
    for command in (
        [*configure, "-DTACOGLOW_WERROR=ON", "-DTACOGLOW_CHECKS=ON", *options],
        ["cmake", "--build", str(folder), "--parallel", "2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def build_programs(folder: Path) -> Path:
    targets = ["tacoglow_speak", "tacoglow_server", "api", "checks", "fuzz_manifest"]
    torch_options = ("-DTACOGLOW_TORCH=ON", f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}")
    return configure_and_build(folder, targets, *torch_options, "-DTACOGLOW_SANITIZE=ON", "-DCMAKE_CXX_FLAGS=-Og")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder last, so that the build, which takes a minute, runs in parallel with the others."""
    items.sort(key=lambda item: Path(__file__).parent in item.path.parents)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any("programs" in fixture_names(item) for item in session.items):
        folder = Path(tempfile.mkdtemp(prefix="tacoglow-cpp-"))
        session.stash[BUILD] = folder, ThreadPoolExecutor(1).submit(build_programs, folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if BUILD in session.stash:
        folder, build = session.stash[BUILD]
        wait([build])
        shutil.rmtree(folder)


def fixture_names(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """Folder with `speak` and `server` for ONNX Runtime and LibTorch, and the test programs in its subfolder `checks`.

    Everything except these two libraries is built with the address and undefined-behaviour sanitizers, so every test
    here also detects memory errors.
    """
    return request.session.stash[BUILD][1].result()


@pytest.fixture(scope="session")
def tiny_torchscript(
    tiny_bundle: Path, tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny voice with TorchScript modules. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("tiny_torchscript") / "voice"
    shutil.copytree(tiny_bundle, folder)
    export_torchscript(load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow), folder)
    return folder
