"""The tiny voice on ONNX Runtime's CPU provider."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.synthesizer import SpeechWarning


@pytest.fixture(scope="session")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, threads=1)


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Ignore warnings about the frame limit, which random weights often reach; tests of the warning record it."""
    warnings.simplefilter("ignore", SpeechWarning)
