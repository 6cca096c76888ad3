"""The cut of a mel into vocoder windows: complete, within the sizes, and the cheapest of all cuts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tacoglow.runtime.backends.base import vocoder_window_sizes
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.vocoder import plan_windows


def frames_run(window: tuple[int, int], frames: int, before: int, after: int, sizes: tuple[int, ...]) -> float:
    """The size that a window runs at; infinite if none holds it."""
    seen = min(frames, window[1] + after) - max(0, window[0] - before)
    return min((size for size in sizes if size >= seen), default=float("inf"))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_cut_runs_fewer_frames(data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, frames - 1))
    stop = data.draw(st.integers(start + 1, frames))
    before, after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    sizes = tuple(sorted(data.draw(st.sets(st.integers(1, 12), min_size=1, max_size=3)) | {before + after + 1}))
    windows = plan_windows(start, stop, frames, before, after, sizes)
    assert [window[0] for window in windows] + [stop] == [start] + [window[1] for window in windows]

    def total(windows: Iterable[tuple[int, int]]) -> float:
        return sum(frames_run(window, frames, before, after, sizes) for window in windows)

    inner = range(start + 1, stop)
    cuts = (cut for count in range(len(inner) + 1) for cut in combinations(inner, count))
    assert total(windows) == min(total(pairwise((start, *cut, stop))) for cut in cuts)


@pytest.mark.parametrize(
    ("frames", "windows"),
    [
        (150, [(0, 150)]),  # at 160 frames
        (185, [(0, 185)]),  # at 227, not at 160 and at 88
    ],
)
def test_an_utterance_of_the_demo_voice(frames: int, windows: list[tuple[int, int]]) -> None:
    assert plan_windows(0, frames, frames, 35, 32, (20, 36, 56, 88, 160, 227)) == windows


def test_without_room_for_its_context_a_window_has_one_frame() -> None:
    assert plan_windows(3, 6, 20, 4, 4, (8,)) == [(3, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize(
    ("first", "later", "sizes"),
    [
        (8, 64, (20, 36, 56, 88)),  # segments from frames 0, 8, 24 and 56
        (16, 16, (28, 40)),
    ],
)
def test_sizes_are_those_of_a_streams_segments(
    tiny_bundle: Path, first: int, later: int, sizes: tuple[int, ...]
) -> None:
    manifest = load_manifest(tiny_bundle)
    segments = replace(manifest.synthesis, first_segment_frames=first, segment_frames=later, context_frames=12)
    assert vocoder_window_sizes(replace(manifest, synthesis=segments), 1000) == sizes
