"""Silence at the ends of speech: left out the same however the speech is cut, and nothing that can be heard with it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.runtime.output.trimming import SilenceTrimmer, trim_silence

RATE = 1000  # Hz: a frame is 10 samples
LOUD, QUIET = 0.1, 0.001  # -20 and -60 dBFS


def speech(frames: list[bool], rest: int) -> np.ndarray:
    """A tone where a frame is audible, a thousandth of full scale where not; then a silent rest."""
    return np.repeat([LOUD if loud else QUIET for loud in frames] + [QUIET], [10] * len(frames) + [rest]).astype(
        np.float32
    )


def test_two_frames_stay_at_either_end() -> None:
    samples = speech([False] * 7 + [True, False, False, False, True] + [False] * 5, 3)
    trimmed, lead = trim_silence(samples, RATE)
    assert lead == 50
    np.testing.assert_array_equal(trimmed, samples[50:140])


def test_what_is_audible_at_the_very_ends_stays() -> None:
    samples = np.full(25, LOUD, np.float32)
    trimmed, lead = trim_silence(samples, RATE)
    assert lead == 0
    np.testing.assert_array_equal(trimmed, samples)


def test_silence_is_relative_to_the_volume() -> None:
    samples = speech([False] * 4 + [True] + [False] * 4, 0)
    for volume in (0.01, 1.0, 4.0):
        trimmed, _ = trim_silence(samples * np.float32(volume), RATE, volume)
        assert len(trimmed) == 50


def test_silence_alone_is_left_out() -> None:
    assert len(trim_silence(speech([False] * 9, 4), RATE)[0]) == 0
    assert len(trim_silence(np.zeros(0, np.float32), RATE)[0]) == 0


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(0, 9), st.lists(st.integers(0, 300), max_size=6))
def test_segments_are_the_whole(frames: list[bool], rest: int, cuts: list[int]) -> None:
    samples = speech(frames, rest)
    first = next((i for i, loud in enumerate(frames) if loud), None)
    expected = samples[:0]
    if first is not None:
        last = max(i for i, loud in enumerate(frames) if loud)
        expected = samples[10 * max(0, first - 2) : 10 * (last + 3)]
    trimmer = SilenceTrimmer(RATE)
    segments = np.split(samples, sorted(min(cut, len(samples)) for cut in cuts))
    given_back = [trimmer.push(segment, i == len(segments) - 1) for i, segment in enumerate(segments)]
    np.testing.assert_array_equal(np.concatenate(given_back), expected)
    if first is not None:
        assert trimmer.lead == 10 * max(0, first - 2)
