"""Tasks, lanes and the scheduler follow the policy."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.errors import Cancelled
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.scheduling.admission import Admission
from tacoglow.runtime.scheduling.handle import SpeechHandle
from tacoglow.runtime.scheduling.lanes import NICENESS, Job, Lanes
from tacoglow.runtime.scheduling.policy import Stage
from tacoglow.runtime.scheduling.rows import Row, SharedRows
from tacoglow.runtime.scheduling.scheduler import Scheduler, SchedulerLimits
from tacoglow.runtime.scheduling.speeches import Order, SpokenPiece, WholeSpeech
from tacoglow.runtime.scheduling.streams import StreamSpeech, UnheardSpeech

NEVER = 0.9999999999  # gate threshold that no frame reaches
TEXT = "A longer sentence than these, one that is cut. It has two more parts; this is the last of them."
SECONDS = 60.0


def make_order(voice: Synthesizer, rate: float = 1.0) -> Order:
    options = SpeechOptions(gate_threshold=NEVER, rate=rate)
    handle = SpeechHandle(voice.manifest.audio.sampling_rate, (), lambda: None)
    ticket = Admission(10_000).admit("somebody", len(TEXT))
    return Order(voice, handle, voice.split(TEXT, options), 0, options.resolve(voice.manifest), ticket)


def test_stream_rests_and_has_two_segments_in_flight(voice: Synthesizer) -> None:
    decoder = SharedRows(voice.acoustic, 1)
    task = StreamSpeech(make_order(voice), StreamOptions(2, 3, 0).resolve(voice.manifest))
    row = task.open_next(decoder)
    jobs: list[Job] = []
    for _ in range(40):
        for piece in list(task.hungry(1)):
            decoder.advance([row], 1)
            piece.advanced(0.0)
        jobs += task.jobs(decoder)
    # Two segments, of 2 and 3 frames, are with the vocoder; the next two wait, with the postnet's context behind them.
    assert len(jobs) == 2
    assert row.decoded.frame == 2 + 3 * 3 + voice.manifest.decoder.postnet_frames
    jobs[0].deliver(jobs[0].work())
    assert len(list(task.jobs(decoder))) == 1
    assert list(task.hungry(1))


def test_who_is_cancelled_while_the_ended_are_dropped_is_counted(
    voice: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody cancels after the scheduler has looked at the request; it must not be forgotten with its ticket."""
    with Scheduler(voice) as scheduler:
        looks = iter([False, True])
        monkeypatch.setattr(SpeechHandle, "done", property(lambda handle: next(looks, True)))
        task = WholeSpeech(make_order(voice))
        loop = scheduler._loop
        monkeypatch.setattr(loop, "_tasks", [task])
        reported: list[WholeSpeech] = []
        monkeypatch.setattr(WholeSpeech, "report", lambda task, metrics: reported.append(task))
        loop._drop_ended()
        assert (task in reported) != (task in loop._tasks)


def test_a_whole_request_is_due_after_60_ms_for_each_token_at_rate_1(voice: Synthesizer) -> None:
    tokens = make_order(voice).tokens
    assert tokens > len(TEXT) / 2
    for rate in (0.5, 1.0, 2.0):
        order = make_order(voice, rate)
        for task in (WholeSpeech(order), UnheardSpeech(order, StreamOptions(2, 3, 0).resolve(voice.manifest))):
            assert task.deadline() - order.submitted == pytest.approx(tokens * 0.06 / rate)


def test_only_the_first_piece_that_waits_is_offered(voice: Synthesizer) -> None:
    task, decoder = WholeSpeech(make_order(voice)), SharedRows(voice.acoustic, 4)
    assert len(task.order.split.pieces) > 2
    assert not task.begun
    assert [(piece.index, piece.stage) for piece in task.hungry(1)] == [(0, Stage.WAITING)]
    task.open_next(decoder)
    assert task.begun
    assert [(piece.index, piece.stage) for piece in task.hungry(1)] == [(0, Stage.DECODING), (1, Stage.WAITING)]


def test_express_lane_takes_only_what_is_more_urgent() -> None:
    """One lane runs a job that is due at 2.0: one that is due at 1.0 overtakes it, one that is due at 3.0 waits."""
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    lanes, may_end, began = Lanes(1, posted.put), threading.Event(), threading.Event()
    ended: list[float] = []
    niceness: dict[float, int] = {}

    def submit(deadline: float, work: Callable[[], object]) -> None:
        def run() -> None:
            niceness[deadline] = os.nice(0)
            work()

        lanes.submit(Job(deadline, "", run, lambda _: ended.append(deadline), lambda error: None, lambda: True))

    def run_long() -> None:
        began.set()
        assert may_end.wait(SECONDS)

    submit(2.0, run_long)
    assert began.wait(SECONDS)
    submit(3.0, lambda: None)
    submit(1.0, lambda: None)
    posted.get(timeout=SECONDS)()
    assert ended == [1.0]
    may_end.set()
    for _ in range(2):
        posted.get(timeout=SECONDS)()
    assert ended == [1.0, 2.0, 3.0]
    assert sys.platform != "linux" or niceness[2.0] == min(niceness[1.0] + NICENESS, 19)
    lanes.close()


def test_short_text_overtakes_a_long_one(tiny_bundle: Path) -> None:
    with Scheduler(Synthesizer.load(tiny_bundle, threads=1), SchedulerLimits(max_rows=1)) as scheduler:
        endless = SpeechOptions(retries=100, gate_threshold=NEVER)
        long = scheduler.submit(TEXT * 20, 0, endless)
        short = scheduler.submit("No.", 0, SpeechOptions(gate_threshold=NEVER))
        short.result(SECONDS)
        assert not long.done
        long.cancel()


@pytest.mark.parametrize("clients", [1, 2, 3])
def test_equal_requests_of_a_client_end_as_they_came(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    """Nor are more of them made ready for the lane than it may take next, although all are decoded."""
    voice = Synthesizer.load(tiny_bundle, threads=1)
    finish, decoded, queued, ended = voice.finish, threading.Event(), list[int](), list[int]()
    waiting = set(range(30))

    def finish_late(*arguments: Any) -> Any:
        assert decoded.wait(SECONDS)
        return finish(*arguments)

    with Scheduler(voice, SchedulerLimits(max_rows=4, lanes=1)) as scheduler:
        lanes, submitted = scheduler._loop._lanes, threading.Event()
        submit, options = lanes.submit, SpeechOptions(gate_threshold=NEVER, retries=0)

        def submit_and_count(job: Job) -> None:
            submit(job)
            queued.append(len(lanes._jobs))

        def advanced(piece: SpokenPiece, seconds: float) -> None:
            note(piece, seconds)
            if piece.stage is Stage.DECODED:
                waiting.discard(piece.noise.key[0])
            if not waiting:
                decoded.set()

        note = SpokenPiece.advanced
        monkeypatch.setattr(SpokenPiece, "advanced", advanced)
        monkeypatch.setattr(voice, "finish", finish_late)
        monkeypatch.setattr(lanes, "submit", submit_and_count)
        # Its `cancelled` holds the scheduler's thread until all have been submitted.
        first = scheduler.submit("No.", 99, SpeechOptions(cancelled=lambda: submitted.wait(SECONDS)))
        handles = [scheduler.submit("No.", i, options, client=str(i % clients)) for i in sorted(waiting)]
        for seed, handle in enumerate(handles):
            handle.add_waker(lambda seed=seed: ended.append(seed))  # type: ignore[misc]
        submitted.set()
        for handle in handles:
            handle.result(SECONDS)
    assert isinstance(first.error, Cancelled)
    for client in range(clients):
        assert [i for i in ended if i % clients == client] == list(range(client, 30, clients))
    assert max(queued) <= 2 * clients


def test_equal_requests_end_as_they_came_while_more_are_submitted(tiny_bundle: Path) -> None:
    """One client has 20 in flight, and submits another one at each end. They are much shorter than is expected."""
    options = SpeechOptions(gate_threshold=NEVER, max_frames=9, retries=0)
    submitted, done = threading.Event(), threading.Event()
    handles: list[SpeechHandle] = []
    ended: list[int] = []
    with Scheduler(Synthesizer.load(tiny_bundle, threads=1), SchedulerLimits(max_rows=1, lanes=1)) as scheduler:

        def submit_next() -> None:
            number = len(handles)
            handles.append(scheduler.submit("Hello there, my friend.", number, options))
            handles[-1].add_waker(lambda: note_end(number))

        def note_end(number: int) -> None:
            ended.append(number)
            if len(handles) < 100:
                submit_next()
            if len(ended) == 100:
                done.set()

        # Its `cancelled` holds the scheduler's thread until the first ones have been submitted.
        scheduler.submit("No.", 99, SpeechOptions(cancelled=lambda: submitted.wait(SECONDS)))
        for _ in range(20):
            submit_next()
        submitted.set()
        assert done.wait(SECONDS)
    assert ended == list(range(100))


def test_a_pass_tells_the_shares_once(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time, the least served of all clients is looked for."""
    submitted, calls, clients = threading.Event(), list[str](), list[int]()
    with Scheduler(voice, SchedulerLimits(max_rows=4)) as scheduler:
        loop = scheduler._loop
        advance, give = loop._decoder.advance, loop._shares.give

        def advance_and_note(rows: Sequence[Row], n_steps: int) -> int:
            calls.append("advance")
            return advance(rows, n_steps)

        def give_and_note(seconds: Mapping[Hashable, float]) -> None:
            calls.append("give")
            clients.append(len(seconds))
            give(seconds)

        monkeypatch.setattr(loop._decoder, "advance", advance_and_note)
        monkeypatch.setattr(loop._shares, "give", give_and_note)
        # Its `cancelled` holds the scheduler's thread until all have been submitted.
        scheduler.submit("No.", 99, SpeechOptions(cancelled=lambda: submitted.wait(SECONDS)))
        options = SpeechOptions(gate_threshold=NEVER, retries=0)
        handles = [scheduler.submit("No.", i, options, client=str(i)) for i in range(4)]
        submitted.set()
        for handle in handles:
            handle.result(SECONDS)
    assert calls == ["advance", "give"] * len(clients)
    assert max(clients) == 4
