"""The tiny voice, ready to speak."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.synthesizer import FrameLimitWarning


@pytest.fixture(scope="session")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, threads=1)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Random weights often reach the frame limit; the tests that are about its warning ask for it."""
    warnings.simplefilter("ignore", FrameLimitWarning)
