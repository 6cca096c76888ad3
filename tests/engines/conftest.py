"""A real TensorRT builder, and silence where builds are shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tacoglow.runtime.engines.builder import Progress
from tacoglow.runtime.engines.tensorrt import TensorRT, load_tensorrt, missing_tensorrt


class Silence:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.fractions: dict[str, list[float]] = {}

    def say(self, line: str) -> None:
        self.said.append(line)

    @contextmanager
    def building(self, graph: str) -> Iterator[Progress]:
        fractions = self.fractions[graph] = []
        yield lambda phase, fraction: None if fraction is None else fractions.append(fraction)


@pytest.fixture
def display() -> Silence:
    return Silence()


@pytest.fixture(scope="session")
def rtx() -> TensorRT:
    """TensorRT-RTX, which builds without a GPU. CI requires it: TACOGLOW_REQUIRE_TENSORRT=1."""
    missing = missing_tensorrt("tensorrt-rtx")
    if missing is not None and not os.environ.get("TACOGLOW_REQUIRE_TENSORRT"):
        pytest.skip(missing)
    return load_tensorrt("tensorrt-rtx")


@pytest.fixture(autouse=True)
def own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACOGLOW_ENGINE_KEY", str(tmp_path / "key" / "engine.key"))
