"""The day's timing steps under the pretended driver: they run and find every figure; the figures mean nothing here."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from tacoglow.runtime.synthesizer import Synthesizer
from tacoglow.tools.gpu import times

from .simulated_tensorrt import SimulatedTensorRT
from .test_loop import on_device


@pytest.fixture
def day(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """The arguments of a step, whose sizes are the tiny voice's."""
    SimulatedTensorRT().install(monkeypatch)
    monkeypatch.setattr(Synthesizer, "load", lambda bundle, *options, **others: on_device(bundle))
    monkeypatch.setattr(times, "TOKENS", 12)
    monkeypatch.setattr(times, "CHUNKS", 2)
    monkeypatch.setattr(times, "BATCHES", (1, 2))
    monkeypatch.setattr(times, "WAVEGLOW_FRAMES", (20,))
    return Namespace(bundle=tiny_bundle)


def test_times_are_found(day: Namespace) -> None:
    found = times.times(day)
    assert found.pop("tokens") == 12
    assert found.pop("gpu").endswith("GPU 0")
    assert set(found) == {
        "step_us_captured_batch_1",
        "step_us_captured_batch_2",
        "step_us_enqueued_batch_3",
        "encoder_ms",
        "waveglow_ms_20_frames",
        "mel_round_trip_ms_20_frames",
        "first_audio_ms",
    }
    assert all(isinstance(value, float) for value in found.values())
