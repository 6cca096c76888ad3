"""Quality measurements: spectral distance, and the rows of a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tacoglow.benchmarks.pipelines import BundlePipeline
from tacoglow.benchmarks.voices import Models
from tacoglow.tests.tolerances import FOLDED
from tacoglow.tools.pages import quality
from tacoglow.tools.pages.quality import log_spectral_distance


def test_log_spectral_distance_of_a_gain() -> None:
    """A gain of 2 is 20 log10(2) dB at every frequency."""
    noise = np.random.default_rng(0).standard_normal(8192).astype(np.float32)
    assert log_spectral_distance(noise, noise) == 0.0
    assert log_spectral_distance(2 * noise, noise) == pytest.approx(20 * np.log10(2.0), abs=0.01)


def test_rows(models: Models, tiny_bundle: Path) -> None:
    pipeline = BundlePipeline(tiny_bundle, "onnxruntime", threads=1)
    rows = quality.measure(models, [pipeline], ["No."], None, lambda line: None)
    by_key = {(row["pipeline"], row["precision"]): row for row in rows}
    reference = by_key["PyTorch eager", "fp32"]["summary"]
    assert (reference["mel_error"], reference["audio_error"], reference["log_spectral_distance_db"]) == (0.0, 0.0, 0.0)
    assert reference["stop_frames_equal"] == 1.0
    ours = by_key["tacoglow onnxruntime", "fp32"]["summary"]
    assert 0.0 < ours["mel_error_first_quarter"] < 10 * FOLDED
    assert 0.0 < ours["audio_error"] < 10 * FOLDED
    assert ours["rtf"] > 0.0
    assert len(by_key["PyTorch eager", "fp64"]["sentences"]) == len(quality.SEEDS)
