"""Fixtures: the tiny voice behind `tacoglow serve`, and the library's own speech as the reference."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow import Synthesizer

from ..triton_server.conftest import repository, server, triton  # noqa: F401  fixtures, for test_upstream

if TYPE_CHECKING:
    from tacoglow.runtime.scheduling.scheduler import Scheduler

    from .running import RunningGateway

NEEDED = ("starlette", "uvicorn", "av", "websockets", "wyoming", "openai")  # of the extra `serve`, and a client
collect_ignore_glob = [] if all(map(importlib.util.find_spec, NEEDED)) else ["test_*.py"]
Expected = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="session")
def new_scheduler(tiny_bundle: Path) -> Callable[[], Scheduler]:
    from tacoglow.runtime.scheduling.scheduler import Scheduler

    return lambda: Scheduler(Synthesizer.load(tiny_bundle, "onnxruntime", threads=1))


@pytest.fixture(scope="session")
def gateway(new_scheduler: Callable[[], Scheduler]) -> Iterator[RunningGateway]:
    from .running import running

    with running(new_scheduler(), {"Anna": "tiny"}, max_wait=60.0, max_characters=3_000) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)


@pytest.fixture(scope="session")
def library_stream(voice: Synthesizer) -> Expected:
    """Join the library's stream of a text, seed and options."""
    return lambda text, seed=0, options=None: np.concatenate(list(voice.stream(text, seed, options=options)))
