"""Fixtures: the tiny voice on a real tritonserver, started once per test session."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.triton_server.configs import ServingOptions
from tacoglow.triton_server.repository import export_triton

from .server import TritonEnvironment, TritonServer

MAX_CHARACTERS = 20_000
SLOTS = 2  # concurrent streams
OPTIONS = ServingOptions(threads=1, queue_delay_us=50_000, streams=SLOTS, max_characters=MAX_CHARACTERS)


@pytest.fixture(scope="session")
def repository(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of the tiny voice. Shared: copy it before changing it."""
    folder = tmp_path_factory.mktemp("triton") / "model_repository"
    export_triton(tiny_bundle, folder, options=OPTIONS)
    return folder


@pytest.fixture(scope="session")
def triton() -> None:
    """Skips if tritonserver cannot be started; fails instead if TACOGLOW_REQUIRE_TRITON is set."""
    reason = TritonEnvironment().unavailable_reason()
    if reason is not None:
        (pytest.fail if os.environ.get("TACOGLOW_REQUIRE_TRITON") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def server(triton: None, repository: Path) -> Iterator[TritonServer]:
    # Triton 2.51 sometimes never releases a cancelled gRPC stream, and then waits this long for it on shutdown.
    with TritonServer(repository, ["--exit-timeout-secs=5"]) as running:
        yield running


@pytest.fixture(scope="session")
def voice(tiny_bundle: Path) -> Synthesizer:
    """The library's synthesizer, as the reference."""
    return Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Ignore warnings: random weights often reach the frame limit, and some texts have unknown characters."""
    warnings.simplefilter("ignore")
