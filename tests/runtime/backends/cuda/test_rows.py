"""Rows that share decoder steps on a GPU: each is what it is alone, whoever joins, rests or leaves beside it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Scheduler, SchedulerLimits, SpeechOptions, StreamOptions, Synthesizer
from tacoglow.runtime.backends.base import Decoder
from tacoglow.runtime.backends.cuda import chunks
from tacoglow.runtime.backends.cuda.chunks import ChunkBuffers, CudaSteps
from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.cuda.fused.rows import _Group
from tacoglow.runtime.backends.cuda.stream import CudaStream, DeviceArray
from tacoglow.runtime.backends.onnxruntime import OnnxRuntimeGraph
from tacoglow.runtime.decoder import Chunk, DecodedItem, DecoderSession, Profile, ProfileName
from tacoglow.runtime.errors import BackendError, Cancelled
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.scheduling import scheduler
from tacoglow.runtime.scheduling.rows import DeviceRows, Row, SeparateRows, _decode, new_row_decoder
from tacoglow.runtime.scheduling.speeches import SpokenPiece
from tacoglow.tests.pretend_driver.driver import LAUNCH_FAILED, OUT_OF_MEMORY, WORKS, PretendDriver

from .conftest import launches, on_device
from .fused.test_steps import FOREVER, TEXT, assert_close_samples, assert_same

CHUNK = 4  # steps: utterances of 40 frames have ten chunks
PROFILE = Profile(max_rows=None, engine_steps=CHUNK, fused_steps=CHUNK)
SECONDS = 120.0

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning")


@pytest.fixture(params=["engine", pytest.param("fused", marks=pytest.mark.full)])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return cast(Decoder, request.param)


@pytest.fixture
def device(half_bundle: Path, cuda: PretendDriver, decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Synthesizer:
    for module, kind in ((steps, steps.FusedSteps), (chunks, CudaSteps)):
        monkeypatch.setattr(module, "CHUNK_STEPS", CHUNK)
        monkeypatch.setattr(kind, "chunk_steps", CHUNK)
    monkeypatch.setattr(scheduler, "PROFILES", {"latency": PROFILE})
    return on_device(half_bundle, decoder)


@pytest.fixture
def launched(cuda: PretendDriver, decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the launches of chunks."""
    count, launch = 0, ChunkBuffers.launch

    def note_launch(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return launch(*arguments)

    monkeypatch.setattr(ChunkBuffers, "launch", note_launch)
    return lambda: count if decoder == "engine" else launches(cuda)


def new_rows(device: Synthesizer, max_rows: int) -> DeviceRows:
    rows = new_row_decoder(device.acoustic, max_rows, PROFILE)
    assert isinstance(rows, DeviceRows)
    return rows


def assert_same_item(got: DecodedItem, expected: DecodedItem) -> None:
    assert got.stop_reason == expected.stop_reason
    np.testing.assert_array_equal(got.mel, expected.mel)
    np.testing.assert_array_equal(got.alignment, expected.alignment)
    np.testing.assert_array_equal(got.gate_logits, expected.gate_logits)


def test_sixteen_requests_need_a_sixth_of_the_launches(
    device: Synthesizer, launched: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come while the scheduler opens the first one's row; a few of the others join it at every chunk."""
    texts = [TEXT[: 27 - i] for i in range(16)]
    alone = [device.say(text, seed, FOREVER) for seed, text in enumerate(texts)]
    launched_alone, submitted, open_row = launched(), threading.Event(), DeviceRows.open

    def open_late(rows: DeviceRows, *arguments: Any) -> Row:
        assert submitted.wait(SECONDS)
        return open_row(rows, *arguments)

    with Scheduler(device) as running:
        monkeypatch.setattr(DeviceRows, "open", open_late)
        before = launched()
        handles = [running.submit(text, seed, FOREVER) for seed, text in enumerate(texts)]
        submitted.set()
        together = [handle.result(SECONDS) for handle in handles]
    for got, expected in zip(together, alone, strict=True):
        assert_same(got, expected)
    assert launched_alone == 16 * 40 / CHUNK
    assert launched() - before <= launched_alone / 6


def test_requests_that_end_by_gate_and_limit_speak_what_they_speak_alone(device: Synthesizer) -> None:
    texts = [TEXT[: 27 - i] for i in range(16)]
    options = [FOREVER, SpeechOptions(max_frames=29, gate_threshold=1.0 - 1e-12), SpeechOptions(gate_threshold=0.5)]
    options = [options[i % 3] for i in range(16)]
    alone = [device.say(text, seed, each) for seed, (text, each) in enumerate(zip(texts, options, strict=True))]
    with Scheduler(device) as running:
        handles = [
            running.submit(text, seed, each) for seed, (text, each) in enumerate(zip(texts, options, strict=True))
        ]
        for handle, expected in zip(handles, alone, strict=True):
            assert_same(handle.result(SECONDS), expected)


@pytest.mark.parametrize("profile", ["latency", "throughput"])
def test_profiles_choose_rows_and_chunks(
    half_bundle: Path, cuda: PretendDriver, decoder: Decoder, profile: ProfileName
) -> None:
    """The table in docs/tensorrt.md; the bundle's batch limit is 16."""
    expected = {
        ("latency", "engine"): (8, 16),
        ("latency", "fused"): (8, 32),
        ("throughput", "engine"): (16, 64),
        ("throughput", "fused"): (16, 64),
    }
    with Scheduler(on_device(half_bundle, decoder), SchedulerLimits(profile=profile)) as running:
        rows = running._loop._decoder
        assert isinstance(rows, DeviceRows)
        assert (rows.max_rows, rows._steps.chunk_steps) == expected[profile, decoder]


def test_nothing_is_captured_inside_a_schedulers_request(device: Synthesizer, cuda: PretendDriver) -> None:
    with Scheduler(device) as running:
        captured = cuda.count("cuGraphInstantiateWithFlags")
        handles = [running.submit(TEXT[: 27 - i], i, FOREVER) for i in range(9)]
        for handle in handles:
            handle.result(SECONDS)
        assert cuda.count("cuGraphInstantiateWithFlags") == captured


@pytest.mark.filterwarnings("ignore::tacoglow.runtime.backends.cuda.graph.CaptureWarning")
def test_where_nothing_can_be_captured_chunks_are_enqueued(device: Synthesizer, cuda: PretendDriver) -> None:
    options = FOREVER.resolve(device.manifest)
    encoded, cases = device.acoustic.encode([device.front_end.encode(TEXT)]), (Noise(0), Noise(1))
    cuda.reject_captures()
    captured = cuda.count("cuGraphInstantiateWithFlags")
    decoder = new_rows(device, 2)
    rows = [decoder.open(encoded, noise, options) for noise in cases]
    while any(row.decoded.running for row in rows):
        decoder.advance(rows, CHUNK)
    assert cuda.count("cuGraphInstantiateWithFlags") == captured
    for row, noise in zip(rows, cases, strict=True):
        session = device.acoustic.session(encoded, [noise], options)
        session.advance(options.frame_limit)
        assert_same_item(row.decoded.item(0), session.decoded.item(0))


@pytest.mark.parametrize("decoder", ["engine"])
def test_rows_decode_by_themselves_on_an_engine_that_rounds_a_batch_differently(
    device: Synthesizer, launched: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = OnnxRuntimeGraph.bind

    def bind_to_round(graph: OnnxRuntimeGraph, arrays: Mapping[str, np.ndarray]) -> Callable[[], None]:
        run = bind(graph, arrays)

        def run_and_round() -> None:
            run()
            if len(arrays["mel_frame"]) == 4:
                arrays["mel_frame"][:] = np.nextafter(arrays["mel_frame"], np.float32(np.inf))

        return run_and_round if "mel_frame" in arrays else run

    monkeypatch.setattr(OnnxRuntimeGraph, "bind", bind_to_round)
    alone = [device.say(TEXT, seed, FOREVER) for seed in range(4)]
    rows = new_row_decoder(device.acoustic, 4, PROFILE)
    assert type(rows) is SeparateRows
    assert type(new_row_decoder(device.acoustic, 2, PROFILE)) is DeviceRows
    with Scheduler(device) as running:
        handles = [running.submit(TEXT, seed, FOREVER) for seed in range(4)]
        for handle, expected in zip(handles, alone, strict=True):
            assert_same(handle.result(SECONDS), expected)


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
        decoder.advance(chosen[:3], CHUNK)
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


def test_a_row_that_rests_is_told_of_a_chunk_that_was_lost(
    device: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on as if those steps had never been; the row beside which they are lost still gets its own."""
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 2), FOREVER.resolve(device.manifest)
    rests, runs = (decoder.open(encoded, Noise(seed), options) for seed in range(2))
    decoder.advance([rests], CHUNK)
    read = decoder._steps.read

    def lose() -> Mapping[int, Chunk]:
        read()
        raise BackendError("planted")

    with monkeypatch.context() as planted:
        planted.setattr(decoder._steps, "read", lose)
        decoder.advance([runs], CHUNK)  # reads the chunk before
    with pytest.raises(BackendError, match="planted"):
        SpokenPiece(0, device.split(TEXT, SpeechOptions()).pieces[0], Noise(0), row=rests).advanced(0.0)
    while runs.decoded.running:
        decoder.advance([runs], CHUNK)
    session = device.acoustic.session(encoded, [Noise(1)], options)
    session.advance(options.frame_limit)
    assert_same_item(runs.decoded.item(0), session.decoded.item(0))
    assert runs.failure is None


def test_a_launch_that_fails_loses_its_own_rows_alone(device: Synthesizer, cuda: PretendDriver) -> None:
    """The chunk before it is unread, of a row that rests, and the next launch writes where that chunk is."""
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 2), FOREVER.resolve(device.manifest)
    rests, fails, runs = (decoder.open(encoded, Noise(seed), options) for seed in range(3))
    decoder.advance([rests], CHUNK)
    cuda.refuse("cuGraphLaunch", OUT_OF_MEMORY)
    decoder.advance([fails], CHUNK)
    cuda.refuse("cuGraphLaunch", WORKS)
    assert "CUDA_ERROR_OUT_OF_MEMORY" in str(fails.failure)
    assert_decode_what_they_do_alone(device, decoder, {runs: 2, rests: 0})


@pytest.mark.parametrize("decoder", ["engine"])
def test_a_launch_that_fails_while_rows_are_compared_is_raised(device: Synthesizer, cuda: PretendDriver) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    steps = device.acoustic.row_steps(1, PROFILE)
    assert steps is not None
    cuda.refuse("cuGraphLaunch", OUT_OF_MEMORY)
    with pytest.raises(BackendError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        _decode(DeviceRows(device.acoustic, 1, steps), [(encoded, Noise(0))])


def test_a_launch_that_fails_in_part_loses_its_own_rows_alone(
    device: Synthesizer, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows of two token buckets, in two groups of the fused decoder's: the second one's launch fails."""
    short, long = (device.acoustic.encode([device.front_end.encode(text)]) for text in (TEXT, (TEXT * 2)[:36]))
    assert short.memory.shape[1] < long.memory.shape[1]
    rows, options = new_rows(device, 2), FOREVER.resolve(device.manifest)
    rests, first, second, runs = (
        rows.open(encoded, Noise(seed), options) for seed, encoded in enumerate((short, short, long, short))
    )
    rows.advance([rests], CHUNK)
    kind, name = (ChunkBuffers, "launch") if decoder == "engine" else (_Group, "launch_rows")
    launch, launched = getattr(kind, name), []

    def fail_at_the_second(*arguments: Any) -> Any:
        launched.append(arguments)
        if len(launched) == 2:
            raise BackendError("planted")
        return launch(*arguments)

    with monkeypatch.context() as planted:
        planted.setattr(kind, name, fail_at_the_second)
        rows.advance([first, second], CHUNK)
    assert len(launched) == 2
    assert "planted" in str(first.failure)
    assert "planted" in str(second.failure)
    assert_decode_what_they_do_alone(device, rows, {runs: 3, rests: 0})


def assert_decode_what_they_do_alone(device: Synthesizer, decoder: DeviceRows, seeds: dict[Row, int]) -> None:
    """Decode rows, first the first of them alone; seeds: of their noise."""
    rows = list(seeds)
    decoder.advance(rows[:1], CHUNK)
    while any(row.decoded.running and row.failure is None for row in rows):
        decoder.advance(rows, CHUNK)
    for row, seed in seeds.items():
        assert row.failure is None
        session = device.acoustic.session(row.encoded, [Noise(seed)], FOREVER.resolve(device.manifest))
        session.advance(row.decoded.frame)
        assert_same_item(row.decoded.item(0), session.decoded.item(0))


def test_a_row_with_a_window_of_the_attention_fails_by_itself(
    device: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 2), FOREVER.resolve(device.manifest)
    windowed = decoder.open(encoded, Noise(0), replace(options, attention_window=10))
    runs = decoder.open(encoded, Noise(1), options)

    def fail(*_: object) -> None:
        raise BackendError("planted")

    with monkeypatch.context() as planted:
        planted.setattr(DecoderSession, "begin", fail)
        decoder.advance([windowed, runs], CHUNK)
    assert "planted" in str(windowed.failure)
    assert_decode_what_they_do_alone(device, decoder, {runs: 1})


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
    device: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    decoder, options = new_rows(device, 1), SpeechOptions(max_frames=3 * CHUNK, gate_threshold=1.0 - 1e-12)
    launch, read = decoder._steps.launch, decoder._steps.read

    def note_launch(rows: Mapping[int, int]) -> None:
        events.append("launch")
        launch(rows)

    def note_read() -> Mapping[int, Chunk]:
        events.append("read")
        return read()

    monkeypatch.setattr(decoder._steps, "launch", note_launch)
    monkeypatch.setattr(decoder._steps, "read", note_read)
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


@pytest.mark.parametrize("decoder", [pytest.param("fused", marks=pytest.mark.full)])
def test_a_trap_ends_requests_with_a_way_out(device: Synthesizer, cuda: PretendDriver) -> None:
    cuda.refuse("kernel fused_decoder", LAUNCH_FAILED)
    with Scheduler(device) as scheduler:
        handle = scheduler.submit(TEXT)
        with pytest.raises(BackendError, match="start again with --decoder engine"):
            handle.result(SECONDS)


def test_a_voice_is_freed_without_a_garbage_collection(
    half_bundle: Path, cuda: PretendDriver, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that replaces a voice needs its GPU memory back at once."""
    arrays: weakref.WeakSet[_Allocation] = weakref.WeakSet()
    allocate = CudaStream.empty

    def note(stream: CudaStream, *arguments: Any) -> DeviceArray:
        array = allocate(stream, *arguments)
        allocation = _Allocation(array.owner)
        arrays.add(allocation)
        return replace(array, owner=allocation)

    monkeypatch.setattr(CudaStream, "empty", note)
    gc.collect()
    gc.disable()
    try:
        device = on_device(half_bundle, decoder)
        rows = new_rows(device, 2)
        assert arrays
        del device, rows
        assert not arrays
    finally:
        gc.enable()


class _Allocation:
    """The owner of GPU memory, as one that can be referred to weakly."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
