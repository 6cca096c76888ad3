"""A listener's player: the first sound that can be heard, and the times in which there is nothing to play."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.gateway.playback import Playback

RATE = 1_000  # Hz


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def sound(seconds: float) -> NDArray[np.float32]:
    return np.full(round(seconds * RATE), 0.5, np.float32)


def test_sound_after_silence_is_heard_later() -> None:
    """20 ms before a sound are part of it, as where silence is trimmed."""
    playback = Playback(RATE, 1.0, requested=10.0)
    assert playback.play(np.concatenate([silence(0.3), sound(0.1)]), 10.5) == pytest.approx(0.5 + 0.3 - 0.02)
    assert playback.play(sound(0.1), 10.6) is None  # told once


def test_silence_across_segments() -> None:
    playback = Playback(RATE, 1.0, requested=0.0)
    assert playback.play(silence(0.2), 1.0) is None
    assert playback.play(silence(0.2), 1.1) is None
    assert playback.play(sound(0.2), 1.2) == pytest.approx(1.4 - 0.02)


def test_a_stall_delays_what_follows() -> None:
    playback = Playback(RATE, 1.0, requested=0.0)
    playback.play(silence(0.2), 1.0)
    assert playback.stalled(1.5) == pytest.approx(0.3)
    assert playback.play(sound(0.2), 1.5) == pytest.approx(1.5 - 0.02)
    assert playback.stalled(1.6) == 0.0
    assert playback.stalled(1.9) == pytest.approx(0.2)


def test_nothing_stalls_before_it_begins() -> None:
    assert Playback(RATE, 1.0, requested=0.0).stalled(5.0) == 0.0


def test_quiet_speech_is_heard_at_its_own_volume() -> None:
    assert Playback(RATE, 0.01, requested=0.0).play(0.01 * sound(0.1), 1.0) == 1.0
    assert Playback(RATE, 4.0, requested=0.0).play(0.01 * sound(0.1), 1.0) is None
