"""Where items of a batch end: chunks are looked at at once, and must end items as steps one by one do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.runtime.decoder import Chunk, DecodedBatch, StopReason
from tacoglow.runtime.noise import Noise

MELS = 2


def new_batch(
    tokens: Sequence[int], step_limits: Sequence[int], frames: int, gate: float, patience: int | None
) -> DecodedBatch:
    limits = iter([limit * frames for limit in step_limits])
    manifest: Any = SimpleNamespace(
        decoder=SimpleNamespace(frames_per_step=frames), audio=SimpleNamespace(n_mel_channels=MELS)
    )
    options: Any = SimpleNamespace(
        gate_logit=gate, attention_patience=patience, frame_limit_of=lambda tokens, frames: next(limits)
    )
    mask = np.arange(max(tokens)) >= np.array(tokens)[:, None]
    return DecodedBatch(manifest, mask, [Noise(i) for i in range(len(tokens))], options)


def ends_by_steps(
    gates: Sequence[float],
    rests: Sequence[int],
    tokens: int,
    limit: int,
    frames: int,
    gate: float,
    patience: int | None,
) -> tuple[int, int, StopReason]:
    """Of one item, from its gates and the token that the attention rests on: frames, frames that are speech, why."""
    at_end = 0
    for step in range(limit):
        if gates[step] > gate:
            return frames * (step + 1), frames * step, "gate"
        at_end = at_end + frames if rests[step] == tokens - 1 else 0
        if patience is not None and at_end >= patience:
            return frames * (step + 1), frames * (step + 1), "attention_end"
    return frames * limit, frames * limit, "frame_limit"


@settings(deadline=None, max_examples=300)
@given(data=st.data(), frames=st.integers(1, 3), patience=st.sampled_from([None, 1, 2, 5]))
def test_chunks_end_items_as_steps_do(data: st.DataObject, frames: int, patience: int | None) -> None:
    items = data.draw(st.integers(1, 3))
    tokens = data.draw(st.lists(st.integers(1, 3), min_size=items, max_size=items))
    limits = data.draw(st.lists(st.integers(1, 20), min_size=items, max_size=items))
    gate = data.draw(st.sampled_from([0.5, 0.9, 2.0]))
    steps = 40
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    gates, attention = rng.random((steps, items)), rng.random((steps, items, max(tokens)))
    attention[:, np.arange(max(tokens)) >= np.array(tokens)[:, None]] = 0.0
    batch, done = new_batch(tokens, limits, frames, gate, patience), 0
    while batch.running:
        end = done + data.draw(st.integers(1, 9))
        mel = np.zeros((end - done, items, frames * MELS), np.float32)
        batch.record(Chunk(mel, gates[done:end].astype(np.float32), attention[done:end].astype(np.float32)))
        done = end
    for i in range(items):
        rests = attention[:, i].argmax(1)
        expected = ends_by_steps(gates[:, i].tolist(), rests.tolist(), tokens[i], limits[i], frames, gate, patience)
        item = batch.item(i)
        assert (item.mel.shape[1], item.mel_length, item.stop_reason) == expected


@pytest.mark.parametrize("patience", [None, 20])
def test_the_work_for_a_chunk_does_not_grow_with_its_steps(patience: int | None) -> None:
    """On a GPU the host is in the way otherwise: Python needs longer for a step than the fused decoder does."""

    def calls(steps: int) -> int:
        batch = new_batch([5], [1000], 1, 0.5, patience)
        chunk = Chunk(*(np.zeros((steps, *shape), np.float32) for shape in ((1, MELS), (1,), (1, 5))))
        count = 0

        def count_call(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            batch.record(chunk)
        finally:
            sys.setprofile(None)
        return count

    assert calls(64) == calls(2)
