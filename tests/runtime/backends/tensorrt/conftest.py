"""A real TensorRT builder, and a progress display that records instead of printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tacoglow.runtime.backends.tensorrt.builder import ReportProgress, TerminalProgress
from tacoglow.runtime.backends.tensorrt.versions import TensorRT, load_tensorrt, tensorrt_unavailable_reason


class RecordingProgress(TerminalProgress):
    """Records builds instead of showing them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fractions: dict[str, list[float]] = {}

    def print_status(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def building(self, graph: str) -> Iterator[ReportProgress]:
        fractions = self.fractions[graph] = []
        yield lambda phase, fraction: None if fraction is None else fractions.append(fraction)


@pytest.fixture
def progress() -> RecordingProgress:
    return RecordingProgress()


@pytest.fixture(scope="session")
def rtx() -> TensorRT:
    """TensorRT-RTX, which builds without a GPU. CI requires it with TACOGLOW_REQUIRE_TENSORRT=1."""
    reason = tensorrt_unavailable_reason("tensorrt-rtx")
    if reason is not None and not os.environ.get("TACOGLOW_REQUIRE_TENSORRT"):
        pytest.skip(reason)
    return load_tensorrt("tensorrt-rtx")
