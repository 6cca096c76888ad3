"""Rows that share the fused decoder's steps: each is what it is alone, whoever joins, rests or leaves beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Scheduler, SpeechOptions, StreamOptions, Synthesizer
from tacoglow.runtime.backends.cuda.fused import rows as fused_rows
from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.cuda.fused.rows import FusedRows
from tacoglow.runtime.decoder import Chunk, DecodedItem
from tacoglow.runtime.errors import BackendError, Cancelled
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.scheduling.rows import DeviceRows, Row, new_row_decoder
from tacoglow.tests.pretend_driver.driver import LAUNCH_FAILED, PretendDriver

from .conftest import launches, on_device
from .test_steps import FOREVER, TEXT, assert_close_samples, assert_same

CHUNK = 4  # steps: utterances of 40 frames have ten chunks
SECONDS = 120.0

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning")


@pytest.fixture
def device(half_bundle: Path, cuda: PretendDriver, monkeypatch: pytest.MonkeyPatch) -> Synthesizer:
    for module in (steps, fused_rows):
        monkeypatch.setattr(module, "CHUNK_STEPS", CHUNK)
    monkeypatch.setattr(steps.FusedSteps, "chunk_steps", CHUNK)
    monkeypatch.setattr(FusedRows, "chunk_steps", CHUNK)
    return on_device(half_bundle)


def new_rows(device: Synthesizer, max_rows: int) -> DeviceRows:
    rows = new_row_decoder(device.acoustic, max_rows, on_gpu=True)
    assert isinstance(rows, DeviceRows)
    return rows


def assert_same_item(got: DecodedItem, expected: DecodedItem) -> None:
    assert got.stop_reason == expected.stop_reason
    np.testing.assert_array_equal(got.mel, expected.mel)
    np.testing.assert_array_equal(got.alignment, expected.alignment)
    np.testing.assert_array_equal(got.gate_logits, expected.gate_logits)


def test_sixteen_requests_share_launches_and_speak_what_they_speak_alone(
    device: Synthesizer, cuda: PretendDriver
) -> None:
    texts = [TEXT[: 27 - i] for i in range(16)]
    options = [FOREVER, SpeechOptions(max_frames=29, gate_threshold=1.0 - 1e-12), SpeechOptions(gate_threshold=0.5)]
    options = [options[i % 3] for i in range(16)]
    before = launches(cuda)
    alone = [device.say(text, seed, each) for seed, (text, each) in enumerate(zip(texts, options, strict=True))]
    launched_alone, before = launches(cuda) - before, launches(cuda)
    with Scheduler(device) as scheduler:
        handles = [
            scheduler.submit(text, seed, each) for seed, (text, each) in enumerate(zip(texts, options, strict=True))
        ]
        together = [handle.result(SECONDS) for handle in handles]
    for got, expected in zip(together, alone, strict=True):
        assert_same(got, expected)
    assert launches(cuda) - before <= launched_alone / 2


def test_rows_that_run_together_need_a_sixth_of_the_launches(device: Synthesizer, cuda: PretendDriver) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    options = FOREVER.resolve(device.manifest)
    decoder = new_rows(device, 16)
    rows = [decoder.open(encoded, Noise(seed), options) for seed in range(16)]
    before = launches(cuda)
    while any(row.decoded.running for row in rows):
        decoder.advance(rows, CHUNK)
    chunks = 40 // CHUNK
    assert launches(cuda) - before == 2 * chunks  # two groups of eight
    assert 2 * chunks <= 16 * chunks / 6


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_who_runs_beside_a_row_changes_no_bit(device: Synthesizer, data: st.DataObject) -> None:
    """Rows of several lengths and ends, of which any set takes part in a chunk; others rest, or come later."""
    decoder, tasks = new_rows(device, 3), []
    for seed in range(5):
        ids = device.front_end.encode(TEXT[: data.draw(st.integers(1, len(TEXT)))])
        frames, gate = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([0.5, 0.9999]))
        options = SpeechOptions(max_frames=frames, gate_threshold=gate).resolve(device.manifest)
        tasks.append((device.acoustic.encode([ids]), Noise(seed), options))
    waiting, rows, running = list(tasks), list[Row](), list[Row]()
    while waiting or running:
        if waiting and (not running or data.draw(st.booleans())):
            rows.append(decoder.open(*waiting.pop(0)))
            running.append(rows[-1])
        chosen = [row for row in running if data.draw(st.booleans())] or running
        decoder.advance(chosen, CHUNK)
        running = [row for row in running if row.decoded.running]
    for row, (encoded, noise, options) in zip(rows, tasks, strict=True):
        session = device.acoustic.session(encoded, [noise], options)
        session.advance(options.frame_limit)
        assert_same_item(row.decoded.item(0), session.decoded.item(0))


def test_a_place_is_free_again_when_its_row_has_ended_or_is_dropped(device: Synthesizer) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    options = SpeechOptions(gate_threshold=1e-6).resolve(device.manifest)
    decoder = new_rows(device, 2)
    ended, dropped = (decoder.open(encoded, Noise(seed), options) for seed in range(2))
    while ended.decoded.running:
        decoder.advance([ended], CHUNK)
    del dropped
    again = [decoder.open(encoded, Noise(seed), options) for seed in (2, 3)]
    assert [row.number for row in again] == [0, 1]  # type: ignore[attr-defined]


def test_frames_of_a_row_that_rests_are_counted_when_it_runs_again(device: Synthesizer) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 2), FOREVER.resolve(device.manifest)
    rests, runs = (decoder.open(encoded, Noise(seed), options) for seed in range(2))
    decoder.advance([rests], CHUNK)
    assert rests.take_frames() == 0
    decoder.advance([runs], CHUNK)  # reads the chunk before
    assert (rests.take_frames(), rests.take_frames()) == (CHUNK * device.manifest.decoder.frames_per_step, 0)


def test_steps_of_windows_of_the_attention_are_counted(device: Synthesizer) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    options = SpeechOptions(gate_threshold=1.0 - 1e-12, attention_window=10).resolve(device.manifest)
    decoder = new_rows(device, 2)
    assert decoder.advance([decoder.open(encoded, Noise(0), options)], CHUNK) == CHUNK


def test_cancelled_requests_leave_the_others_alone(device: Synthesizer) -> None:
    expected = [device.say(TEXT, seed, FOREVER) for seed in range(4)]
    with Scheduler(device) as scheduler:
        cancelled = [scheduler.submit("I missed you. " * 9, 9, FOREVER) for _ in range(9)]
        kept = [scheduler.submit(TEXT, seed, FOREVER) for seed in range(4)]
        for handle in cancelled:
            handle.cancel()
        for handle, whole in zip(kept, expected, strict=True):
            assert_same(handle.result(SECONDS), whole)
    for handle in cancelled:
        with pytest.raises(Cancelled):
            handle.result(SECONDS)


def test_a_chunk_is_launched_before_the_one_before_it_is_read(
    device: Synthesizer, cuda: PretendDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    launch, read = FusedRows.launch, FusedRows.read

    def note_launch(steps: FusedRows, rows: Mapping[int, int]) -> None:
        events.append("launch")
        launch(steps, rows)

    def note_read(steps: FusedRows) -> Mapping[int, Chunk]:
        events.append("read")
        return read(steps)

    monkeypatch.setattr(FusedRows, "launch", note_launch)
    monkeypatch.setattr(FusedRows, "read", note_read)
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 1), SpeechOptions(max_frames=3 * CHUNK, gate_threshold=1.0 - 1e-12)
    row = decoder.open(encoded, Noise(0), options.resolve(device.manifest))
    while row.decoded.running:
        decoder.advance([row], CHUNK)
    assert events == ["launch", "launch", "read", "launch", "read", "read"]


def test_streams_and_windows_of_the_attention_beside_others(device: Synthesizer) -> None:
    """A window of the attention moves between two steps, so such a row is decoded by itself."""
    windowed = SpeechOptions(gate_threshold=1.0 - 1e-12, attention_window=10)
    whole, restricted = device.say(TEXT, 1, FOREVER), device.say(TEXT, 2, windowed)
    with Scheduler(device) as scheduler:
        stream = scheduler.submit(TEXT, 1, FOREVER, StreamOptions(2, 6, None))
        other = scheduler.submit(TEXT, 2, windowed)
        samples = np.concatenate(list(stream.segments()))
        assert_same(other.result(SECONDS), restricted)
    assert_close_samples(device, samples, whole.samples)


def test_a_trap_ends_requests_with_a_way_out(device: Synthesizer, cuda: PretendDriver) -> None:
    cuda.refuse("kernel fused_decoder", LAUNCH_FAILED)
    with Scheduler(device) as scheduler:
        handle = scheduler.submit(TEXT)
        with pytest.raises(BackendError, match="start again with --decoder engine"):
            handle.result(SECONDS)
