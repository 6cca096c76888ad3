"""Continuous batching: requests that come, go and fail beside each other speak what the library speaks."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.errors import Cancelled, DeadlineExceeded, Overloaded, RequestError, SchedulerClosed
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.audio import Audio
from tacoglow.runtime.scheduling.metrics import SchedulerMetrics
from tacoglow.runtime.scheduling.policy import UNREAD_MAX
from tacoglow.runtime.scheduling.scheduler import Scheduler, SchedulerLimits
from tacoglow.text import TextError

SHORT, LONG = "No.", "A longer sentence than these, one that is cut. It has two more parts; this is the last of them."
TEXTS = [SHORT, "Hello world.", "I missed you, and the rest.", LONG]
NEVER = 0.9999999999  # gate threshold that no frame reaches
ENDLESS = SpeechOptions(retries=100, gate_threshold=NEVER, max_frames=40)
SECONDS = 60.0


@pytest.fixture(scope="module")
def scheduler(tiny_bundle: Path) -> Iterator[Scheduler]:
    with Scheduler(Synthesizer.load(tiny_bundle, threads=1)) as scheduler:
        yield scheduler


@dataclass(frozen=True)
class Request:
    text: str
    seed: int
    is_stream: bool
    is_heard: bool  # of a stream
    options: SpeechOptions
    wait: float  # seconds after the request before it
    cancel_after: float | None  # seconds


@st.composite
def requests(draw: st.DrawFn) -> Request:
    is_stream, is_heard = draw(st.booleans()), draw(st.booleans())
    options = SpeechOptions(
        gate_threshold=draw(st.sampled_from([None, NEVER])),
        max_frames=draw(st.sampled_from([3, 5, 40])),
        retries=0 if is_stream else draw(st.sampled_from([0, 2])),
        attention_stop=draw(st.booleans()),
        rate=draw(st.sampled_from([1.0, 1.4])),
    )
    return Request(
        draw(st.sampled_from(TEXTS)),
        draw(st.integers(0, 30)),
        is_stream,
        is_heard,
        options,
        draw(st.sampled_from([0.0, 0.0, 0.003, 0.02])),
        draw(st.sampled_from([None, None, None, 0.0, 0.01])),
    )


def expected(voice: Synthesizer, request: Request) -> np.ndarray:
    if request.is_stream:
        return np.concatenate(list(voice.stream(request.text, request.seed, options=request.options)))
    return voice.say(request.text, request.seed, request.options).samples


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests(), min_size=2, max_size=10))
def test_requests_speak_what_they_speak_alone(
    scheduler: Scheduler, voice: Synthesizer, arrivals: list[Request]
) -> None:
    handles = []
    for request in arrivals:
        time.sleep(request.wait)
        stream = StreamOptions() if request.is_stream else None
        handles.append(scheduler.submit(request.text, request.seed, request.options, stream, request.is_heard))
        if request.cancel_after is not None:
            threading.Timer(request.cancel_after, handles[-1].cancel).start()
    for request, handle in zip(arrivals, handles, strict=True):
        try:
            audio = handle.result(SECONDS)
        except Cancelled:
            assert request.cancel_after is not None
            continue
        np.testing.assert_array_equal(audio.samples, expected(voice, request))


def test_rows_share_decoder_steps(scheduler: Scheduler, voice: Synthesizer) -> None:
    """Check that the test above is not vacuous: on this machine rows of every length decode together."""
    before = when_counted(scheduler)
    options = SpeechOptions(gate_threshold=NEVER)
    handles = [scheduler.submit(text, seed, options) for seed, text in enumerate(TEXTS * 3)]
    for seed, handle in enumerate(handles):
        assert_same(handle.result(SECONDS), voice.say((TEXTS * 3)[seed], seed, options))
    after = when_counted(scheduler)
    assert (after.decoded_rows - before.decoded_rows) > 1.5 * (after.decoder_steps - before.decoder_steps)
    assert after.finished - before.finished == len(handles)


def when_counted(scheduler: Scheduler) -> SchedulerMetrics:
    """The metrics once all requests have ended: they are counted soon after their result is handed over."""
    deadline = time.monotonic() + SECONDS
    while (metrics := scheduler.metrics()).active or metrics.queued:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return metrics


def assert_same(a: Audio, b: Audio) -> None:
    np.testing.assert_array_equal(a.samples, b.samples)
    assert a.stop_reason == b.stop_reason
    for one, other in zip(a.utterances, b.utterances, strict=True):
        np.testing.assert_array_equal(one.mel, other.mel)
        np.testing.assert_array_equal(one.alignment, other.alignment)
        assert (one.text, one.start, one.token_ids) == (other.text, other.start, other.token_ids)


def test_machine_whose_kernels_round_batches_otherwise(
    tiny_bundle: Path, voice: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Synthesizer.load(tiny_bundle, threads=1)
    step = own.backend.open("decoder_step")
    monkeypatch.setattr(own.acoustic, "_decoder_step", step)
    bind = step.bind

    def bind_and_round(buffers: Mapping[str, np.ndarray]) -> Callable[[], None]:
        run, mel = bind(buffers), buffers["mel_frame"]

        def run_and_round() -> None:
            run()
            if len(mel) > 1:
                np.nextafter(mel, np.float32(9), out=mel)

        return run_and_round

    monkeypatch.setattr(step, "bind", bind_and_round)
    with Scheduler(own) as scheduler:
        handles = [scheduler.submit(text, 3) for text in TEXTS]
        for text, handle in zip(TEXTS, handles, strict=True):
            np.testing.assert_array_equal(handle.result(SECONDS).samples, voice.say(text, 3).samples)


def test_backend_whose_rows_take_turns(tiny_bundle: Path, voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: each row has a batch of its own, and the vocoder runs in the scheduler's thread."""
    own = Synthesizer.load(tiny_bundle, threads=1)
    monkeypatch.setattr(own.backend, "runs_asynchronously", True, raising=False)
    with Scheduler(own) as scheduler:
        abandoned = scheduler.submit(SHORT, 0, ENDLESS)
        handles = [scheduler.submit(text, 3, stream=stream) for text in TEXTS for stream in (None, StreamOptions())]
        abandoned.cancel()
        for i, handle in enumerate(handles):
            request = Request(TEXTS[i // 2], 3, i % 2 == 1, True, SpeechOptions(), 0.0, None)
            np.testing.assert_array_equal(handle.result(SECONDS).samples, expected(voice, request))


def test_stream_has_the_segments_and_the_result_of_the_library(scheduler: Scheduler, voice: Synthesizer) -> None:
    handle = scheduler.submit(LONG, 4, stream=StreamOptions(segment_frames=5))
    segments, alone = list(handle.segments()), list(voice.stream(LONG, 4, StreamOptions(segment_frames=5)))
    assert [len(segment) for segment in segments] == [len(segment) for segment in alone]
    np.testing.assert_array_equal(np.concatenate(segments), np.concatenate(alone))
    audio, whole = handle.result(SECONDS), voice.say(LONG, 4)
    assert [u.start for u in audio.utterances] == [u.start for u in whole.utterances]
    for one, other in zip(audio.utterances, whole.utterances, strict=True):
        np.testing.assert_allclose(one.mel, other.mel, atol=1e-5)  # the postnet's windows round differently
        np.testing.assert_array_equal(one.alignment, other.alignment)


class Retried(NamedTuple):
    """A request whose first try reaches the frame limit, and a later one does not."""

    text: str
    seed: int
    options: SpeechOptions


@pytest.fixture(scope="module")
def retried(voice: Synthesizer) -> Retried:
    """Found by trying, because the tiny voice's weights are random."""
    text, seeds = "Hello world.", range(12)
    frames = sorted(voice.say(text, seed).utterances[0].mel.shape[1] for seed in seeds)
    options = SpeechOptions(retries=2, max_frames=frames[len(frames) // 2])
    return next(
        Retried(text, seed, options)
        for seed in seeds
        if voice.say(text, seed, options, retries=0).stop_reason == "frame_limit"
        and voice.say(text, seed, options).stop_reason == "gate"
    )


def test_what_nobody_hears_is_retried_as_by_say(scheduler: Scheduler, voice: Synthesizer, retried: Retried) -> None:
    whole, cut = voice.say(*retried), StreamOptions(1, 1, context_frames=None)
    handle = scheduler.submit(*retried, cut, is_heard=False)
    audio = handle.result(SECONDS)
    assert audio.stop_reason == "gate"
    assert len(list(handle.segments())) > 1
    np.testing.assert_array_equal(audio.utterances[0].alignment, whole.utterances[0].alignment)
    np.testing.assert_allclose(audio.samples, whole.samples, atol=1e-4)  # windows round differently


def test_what_is_heard_is_not_retried(scheduler: Scheduler, retried: Retried) -> None:
    text, seed, options = retried
    heard = scheduler.submit(text, seed, replace(options, retries=None), StreamOptions()).result(SECONDS)
    assert heard.stop_reason == "frame_limit"


def test_waker_and_poll(scheduler: Scheduler, voice: Synthesizer) -> None:
    handle, woken = scheduler.submit(LONG, 1, stream=StreamOptions(segment_frames=4)), threading.Event()
    handle.add_waker(woken.set)
    segments, done = [], False
    while not done:
        assert woken.wait(SECONDS)
        woken.clear()
        progress = handle.poll()
        segments += progress.segments
        done = progress.done
    assert progress.error is None
    np.testing.assert_array_equal(
        np.concatenate(segments), np.concatenate(list(voice.stream(LONG, 1, StreamOptions(segment_frames=4))))
    )
    late = threading.Event()
    handle.add_waker(late.set)
    assert late.is_set()


def test_requests_that_are_rejected_at_once(scheduler: Scheduler) -> None:
    with pytest.raises(RequestError, match="text: expected at most 120 seconds of pauses, got 130"):
        scheduler.submit("Hi. " + "[pause 10s]" * 13)
    scheduler.submit("Hi. " * 101, options=SpeechOptions(sentence_silence=1.2)).cancel()  # 120 seconds, inexactly
    scheduler.submit("Hi. " * 400).cancel()  # 140 seconds of pauses as punctuation makes them are speech
    with pytest.raises(TextError):
        scheduler.submit("")
    with pytest.raises(RequestError, match="seed"):
        scheduler.submit(SHORT, -1)
    with pytest.raises(RequestError, match="max frames"):
        scheduler.submit(SHORT, options=SpeechOptions(max_frames=10_000))
    with pytest.raises(RequestError, match="cannot take back"):
        scheduler.submit(SHORT, options=SpeechOptions(retries=1), stream=StreamOptions())
    handle = scheduler.submit("Hi ☃, {XX} ☃.")
    assert handle.dropped == handle.result(SECONDS).dropped == ("☃", "{XX}")
    with pytest.raises(RequestError, match="max backlog: expected 1 or more, got 0"):
        SchedulerLimits(max_backlog=0)
    with pytest.raises(RequestError, match="profile: expected one of latency, throughput, got 'speed'"):
        SchedulerLimits(profile="speed")  # type: ignore[arg-type]


def test_cancellation_and_deadline(scheduler: Scheduler, voice: Synthesizer) -> None:
    endless = [scheduler.submit(SHORT, seed, ENDLESS) for seed in range(3)]
    flag = threading.Event()
    own = scheduler.submit(SHORT, 5, SpeechOptions(**{**vars(ENDLESS), "cancelled": flag.is_set}))

    def past_the_deadline() -> bool:  # holds the scheduler, which asks before it looks at the deadline
        time.sleep(0.1)
        return False

    hurried = {"deadline": time.monotonic() + 0.05, "cancelled": past_the_deadline}
    late = scheduler.submit(SHORT, 6, SpeechOptions(**{**vars(ENDLESS), **hurried}))
    with pytest.raises(DeadlineExceeded):
        late.result(SECONDS)
    with pytest.raises(TimeoutError, match=r"not complete after 0\.01 s"):
        endless[0].result(0.01)
    for handle in endless:
        handle.cancel()
        assert handle.done
    flag.set()
    for handle in (*endless, own):
        with pytest.raises(Cancelled):
            list(handle.segments())
    assert_same(scheduler.submit("Hello world.", 2).result(SECONDS), voice.say("Hello world.", 2))
    when_counted(scheduler)


@pytest.mark.slow
def test_ten_thousand_requests_cancelled_at_random_moments(scheduler: Scheduler, voice: Synthesizer) -> None:
    """Every 100th runs to its end beside them, and is as it is alone."""
    random, cancelled, number = Random(0), 0, 0
    while cancelled < 10_000:
        number += 1
        text, seed, stream = random.choice(TEXTS), random.randrange(4), random.choice([None, StreamOptions()])
        handle = scheduler.submit(text, seed, replace(ENDLESS, retries=0), stream=stream)
        kept = scheduler.submit(text, seed) if number % 100 == 0 else None
        time.sleep(random.expovariate(1 / 0.004))
        handle.cancel()
        assert handle.done
        assert handle.error is None or isinstance(handle.error, Cancelled)
        cancelled += handle.error is not None
        if kept is not None:
            assert_same(kept.result(SECONDS), voice.say(text, seed))
    when_counted(scheduler)


def test_queue_is_bounded_and_closing_finishes_what_has_begun(tiny_bundle: Path, voice: Synthesizer) -> None:
    scheduler = Scheduler(Synthesizer.load(tiny_bundle, threads=1), SchedulerLimits(max_backlog=60, max_rows=1))
    gate = threading.Event()
    # Its `cancelled` blocks the scheduler's thread, so that nothing begins meanwhile.
    blocking = scheduler.submit(SHORT, 0, SpeechOptions(cancelled=lambda: gate.wait(SECONDS)))
    accepted = [scheduler.submit("Hello world.", seed) for seed in range(2)]
    with pytest.raises(
        Overloaded, match=r"^27 tokens wait to be spoken, 27 of them yours; try again in \d+ s$"
    ) as refused:
        scheduler.submit("Hello world. No.")
    assert refused.value.expected_wait >= 1.0
    assert scheduler.metrics().refused == 1
    gate.set()
    scheduler.close()
    assert isinstance(blocking.error, Cancelled)
    for seed, handle in enumerate(accepted):
        assert_same(handle.result(0), voice.say("Hello world.", seed))
    with pytest.raises(SchedulerClosed):
        scheduler.submit(SHORT)


def test_closing_without_finishing_cancels(tiny_bundle: Path) -> None:
    scheduler = Scheduler(Synthesizer.load(tiny_bundle, threads=1))
    handles = [scheduler.submit(SHORT, seed, ENDLESS) for seed in range(6)]
    scheduler.close(finish=False)
    for handle in handles:
        with pytest.raises(Cancelled):
            handle.result(0)


def test_failing_request_leaves_the_others_alone(
    scheduler: Scheduler, voice: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = scheduler.voice.finish

    def fragile(text, *arguments):  # type: ignore[no-untyped-def]
        if text == "Hello world.":
            raise RequestError("the audio contains NaN")
        return finish(text, *arguments)

    monkeypatch.setattr(scheduler.voice, "finish", fragile)
    bad, good = scheduler.submit("Hello world."), scheduler.submit(LONG, 2)
    with pytest.raises(RequestError, match="NaN"):
        bad.result(SECONDS)
    assert_same(good.result(SECONDS), voice.say(LONG, 2))


def test_warnings_of_other_threads_stay(scheduler: Scheduler) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler.submit("Hi ☃.").result(SECONDS)
    assert not [warning for warning in caught if "☃" in str(warning.message)]


def test_a_listener_who_does_not_read_rests(scheduler: Scheduler, voice: Synthesizer) -> None:
    text = LONG * 18
    expected = np.concatenate(list(voice.stream(text, 6)))
    assert len(expected) > 3 * UNREAD_MAX * scheduler.voice.manifest.audio.sampling_rate
    unread = scheduler.submit(text, 6, stream=StreamOptions())
    while unread.unread_seconds <= UNREAD_MAX:
        time.sleep(0.001)
    for seed in range(20):
        scheduler.submit(SHORT, seed).result(SECONDS)
    assert not unread.done
    assert unread.unread_seconds < 2 * UNREAD_MAX
    np.testing.assert_array_equal(np.concatenate(list(unread.segments())), expected)
    awaited = scheduler.submit(text, 6, stream=StreamOptions())
    np.testing.assert_array_equal(awaited.result(SECONDS).samples, expected)  # nobody takes the segments


def test_nothing_is_kept_that_nobody_wants(scheduler: Scheduler, voice: Synthesizer) -> None:
    handle = scheduler.submit(LONG, 6, stream=StreamOptions(), keep_audio=False)
    np.testing.assert_array_equal(np.concatenate(list(handle.segments())), np.concatenate(list(voice.stream(LONG, 6))))
    with pytest.raises(RequestError, match="keeps no audio"):
        handle.result(SECONDS)


def test_a_scheduler_that_is_dropped_ends_with_its_last_handle(tiny_bundle: Path, voice: Synthesizer) -> None:
    def names() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith(("scheduler", "vocoder"))]

    before = len(names())
    handle = Scheduler(Synthesizer.load(tiny_bundle, threads=1)).submit("Hello world.", 2)
    assert_same(handle.result(SECONDS), voice.say("Hello world.", 2))
    del handle
    deadline = time.monotonic() + SECONDS
    while len(names()) > before:
        gc.collect()
        assert time.monotonic() < deadline
        time.sleep(0.01)
