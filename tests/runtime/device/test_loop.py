"""The device's decoder loop and graph runner, on a device that does nothing before it has to."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.audio import Audio
from tacoglow.runtime.device.loop import CHUNK_STEPS, LOOPS_KEPT, DeviceLoop, DeviceSteps
from tacoglow.runtime.device.runner import SHAPES_KEPT, CaptureWarning
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.steps import Chunk
from tacoglow.tests.runtime.device.deferred import DeferredBackend, DeferredGraph, DeferredQueue

TEXT = "I missed you, and the rest."
FOREVER = SpeechOptions(gate_threshold=1.0 - 1e-12)  # the gate never fires: every utterance is 40 frames long


@pytest.fixture
def queue() -> DeferredQueue:
    return DeferredQueue()


@pytest.fixture
def device(tiny_bundle: Path, queue: DeferredQueue) -> Synthesizer:
    return Synthesizer(DeferredBackend(tiny_bundle, queue))


def assert_same(got: Audio, expected: Audio) -> None:
    assert got.stop_reason == expected.stop_reason
    np.testing.assert_array_equal(got.samples, expected.samples)
    for one, other in zip(got.utterances, expected.utterances, strict=True):
        for field in ("mel", "alignment", "gate"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text("abcdefg ,.", min_size=1, max_size=70).filter(str.strip), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
    threshold=st.sampled_from([0.2, 0.45, 0.5, 1.0 - 1e-12]),
    max_frames=st.integers(1, 40),
)
def test_the_device_speaks_what_the_host_speaks(
    voice: Synthesizer, device: Synthesizer, texts: list[str], seed: int, threshold: float, max_frames: int
) -> None:
    options = SpeechOptions(gate_threshold=threshold, max_frames=max_frames)
    seeds = [seed + i for i in range(len(texts))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = zip(device.say_batch(texts, seeds, options), voice.say_batch(texts, seeds, options), strict=True)
    for got, expected in pairs:
        assert_same(got, expected)


def test_reduced_voices(reduced_bundle: Path) -> None:
    """Several frames a step."""
    host, device = (
        Synthesizer.load(reduced_bundle, threads=1),
        Synthesizer(DeferredBackend(reduced_bundle, DeferredQueue())),
    )
    for options in (FOREVER, SpeechOptions(gate_threshold=0.45), SpeechOptions(max_frames=7)):
        assert_same(device.say(TEXT, options=options), host.say(TEXT, options=options))


def test_streams_that_alternate_do_not_share_memory(voice: Synthesizer, device: Synthesizer) -> None:
    """Two streams of the same token bucket, advanced in turn."""
    streams = [device.stream(text, seed, 6, 2, None, FOREVER) for text, seed in ((TEXT, 1), ("You missed me.", 2))]
    parts: list[list[np.ndarray]] = [[], []]
    for _ in range(40):
        for stream, part in zip(streams, parts, strict=True):
            part.extend([samples] if (samples := next(stream, None)) is not None else [])
    for text, seed, part in ((TEXT, 1, parts[0]), ("You missed me.", 2, parts[1])):
        whole = np.concatenate(list(voice.stream(text, seed, 6, 2, None, FOREVER)))
        np.testing.assert_array_equal(np.concatenate(part), whole)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the loop does with its chunks."""
    events = []
    start, collect = DeviceSteps.start, DeviceSteps.collect

    def started(steps: DeviceSteps, first_step: int) -> None:
        events.append(f"start {first_step}")
        start(steps, first_step)

    def collected(steps: DeviceSteps) -> Chunk:
        events.append("collect")
        return collect(steps)

    monkeypatch.setattr(DeviceSteps, "start", started)
    monkeypatch.setattr(DeviceSteps, "collect", collected)
    return events


def test_gates_are_read_one_chunk_late(device: Synthesizer, events: list[str]) -> None:
    device.say(TEXT, options=FOREVER)
    assert CHUNK_STEPS == 16  # 40 frames are three chunks
    assert events == ["start 0", "start 16", "collect", "start 32", "collect", "collect"]


def test_an_early_stop_runs_one_chunk_too_many_and_no_more(
    device: Synthesizer, voice: Synthesizer, events: list[str]
) -> None:
    """The gate fires within the first chunk: the second is under way by then, and what it leaves harms nobody."""
    audio = device.say(TEXT, options=SpeechOptions(gate_threshold=1e-6))
    assert audio.stop_reason == "gate"
    assert events == ["start 0", "start 16", "collect"]
    assert_same(device.say(TEXT, options=FOREVER), voice.say(TEXT, options=FOREVER))


def test_a_graph_for_each_batch_and_bucket_is_captured_once(device: Synthesizer, queue: DeferredQueue) -> None:
    step = device.backend.open("decoder_step")
    assert isinstance(step, DeferredGraph)

    def decode(batch: int) -> None:
        ids = [device.front_end.encode(TEXT)] * batch
        device.acoustic.decode(device.acoustic.encode(ids), [Noise(i) for i in range(batch)], FOREVER)

    for batch in (1, 2, 1, 2, 2, 1):
        decode(batch)
    assert step.contexts == 2
    # The encoder's shape came six times and was captured at its second.
    assert queue.captures == 3


def test_loops_of_many_shapes_do_not_pile_up(device: Synthesizer) -> None:
    loop = device.acoustic._loop
    assert isinstance(loop, DeviceLoop)
    ids = device.front_end.encode(TEXT)
    encoded = device.acoustic.encode([ids])
    held = [loop.open(encoded, [Noise(0)]) for _ in range(LOOPS_KEPT + 3)]
    assert sum(len(idle) for idle in loop._idle.values()) == 0
    del held
    gc.collect()
    assert sum(len(idle) for idle in loop._idle.values()) == LOOPS_KEPT


def captures_refused(seen: pytest.WarningsRecorder) -> list[str]:
    """The graphs that were warned of."""
    return [str(warning.message).split(":")[0] for warning in seen if warning.category is CaptureWarning]


def test_where_nothing_can_be_captured_one_warning_is_given(tiny_bundle: Path, voice: Synthesizer) -> None:
    queue = DeferredQueue(refuses_capture=True)
    device = Synthesizer(DeferredBackend(tiny_bundle, queue))
    with pytest.warns(
        CaptureWarning, match=r"decoder_step: cannot be captured as a CUDA graph.*captures nothing"
    ) as seen:
        first = device.say(TEXT, options=FOREVER)
    assert captures_refused(seen) == ["decoder_step"]
    with pytest.warns(CaptureWarning) as seen:
        again = [device.say(TEXT, options=FOREVER) for _ in range(3)]
    assert captures_refused(seen) == ["encoder", "postnet", "waveglow"]
    for audio in (first, *again):
        assert_same(audio, voice.say(TEXT, options=FOREVER))


def test_only_shapes_that_come_again_are_captured(device: Synthesizer, queue: DeferredQueue) -> None:
    postnet = device.backend.open("postnet")
    bands = device.manifest.audio.n_mel_channels

    def run(frames: int) -> np.ndarray:
        mel = np.random.default_rng(frames).standard_normal((1, bands, frames)).astype(np.float32)
        return postnet.run(mel=mel, mel_lengths=np.array([frames], np.int32))["mel_postnet"]

    once = [run(frames) for frames in (3, 4, 5)]
    assert queue.captures == 0
    twice = [run(frames) for frames in (3, 4, 5)]
    assert queue.captures == 3
    thrice = [run(frames) for frames in (3, 4, 5)]
    assert queue.captures == 3
    for results in zip(once, twice, thrice, strict=True):
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])
    for frames in range(6, 6 + SHAPES_KEPT):  # the three are forgotten
        run(frames)
    run(3)
    assert queue.captures == 3
