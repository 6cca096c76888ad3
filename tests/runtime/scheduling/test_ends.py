"""How schedulers end: with the interpreter, by exceptions of callers' functions, after a fork, without memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends.base import GraphRunner
from tacoglow.runtime.errors import BackendError, Cancelled, SchedulerClosed
from tacoglow.runtime.host_steps import HostSteps
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.scheduling import loop
from tacoglow.runtime.scheduling.lanes import Lanes
from tacoglow.runtime.scheduling.policy import choose
from tacoglow.runtime.scheduling.rows import SharedRows
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.runtime.scheduling.speeches import SpeechTask, WholeSpeech
from tacoglow.runtime.scheduling.streams import StreamSpeech
from tacoglow.runtime.stream import UtteranceWindows

SECONDS = 60.0
TEXT = "Hello world."
# Speaks in a scheduler's threads, or in a daemon thread of its own, and comes to its end meanwhile.
PROGRAM = """
import sys, threading, time
from tacoglow import Scheduler, SpeechOptions, Synthesizer
voice = Synthesizer.load(sys.argv[1], "onnxruntime", threads=1)
text, endless = "One two three four five six. " * 300, SpeechOptions(gate_threshold=0.9999999999, attention_stop=False)
if sys.argv[2] == "say":
    threading.Thread(target=voice.say, args=(text, 0, endless), daemon=True).start()
else:
    scheduler = Scheduler(voice)
    handles = [scheduler.submit(text, seed, endless) for seed in range(4)]
time.sleep(0.2)
sys.exit(int(sys.argv[3]))
"""


@pytest.mark.full
@pytest.mark.parametrize("code", [0, 5])
@pytest.mark.parametrize("speaker", ["scheduler", "say"])
def test_the_interpreter_ends_while_a_voice_speaks(tiny_bundle: Path, speaker: str, code: int) -> None:
    for _ in range(3):  # a thread that is in a graph at the wrong moment aborts the process
        program = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tiny_bundle), speaker, str(code)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert (done.returncode, done.stderr) == (code, "")


@pytest.fixture
def scheduler(tiny_bundle: Path) -> Iterator[Scheduler]:
    with Scheduler(Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)) as scheduler:
        yield scheduler


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
@pytest.mark.parametrize("stream", [None, StreamOptions()], ids=["whole", "stream"])
def test_a_callers_function_raises(
    scheduler: Scheduler, error: type[BaseException], stream: StreamOptions | None
) -> None:
    calls = []

    def cancelled() -> bool:
        calls.append(threading.current_thread().name)
        if len(calls) > 2:
            raise error("planted")
        return False

    failing = scheduler.submit("One two three. " * 50, 1, SpeechOptions(cancelled=cancelled), stream)
    other = scheduler.submit(TEXT * 50, 2)
    with pytest.raises(error if issubclass(error, Exception) else Cancelled, match=r"planted|cancelled by"):
        failing.result(SECONDS)
    assert other.result(SECONDS).seconds > 0
    assert scheduler.submit(TEXT, 3).result(SECONDS).seconds > 0


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_waker_raises(scheduler: Scheduler, error: type[BaseException]) -> None:
    def wake() -> None:
        if threading.current_thread().name == "scheduler":
            raise error("planted")

    other = scheduler.submit(TEXT * 20, 2)
    failing = scheduler.submit(TEXT * 20, 1, stream=StreamOptions())
    failing.add_waker(wake)
    with pytest.raises(error if issubclass(error, Exception) else Cancelled, match=r"planted|cancelled by"):
        failing.result(SECONDS)
    assert other.result(SECONDS).seconds > 0
    assert scheduler.submit(TEXT, 3).result(SECONDS).seconds > 0


@pytest.mark.parametrize(("kind", "method"), [(UtteranceWindows, "next"), (StreamSpeech, "_place")])
def test_memory_that_is_short_in_the_schedulers_thread_is_short_for_one(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, kind: type, method: str
) -> None:
    """Where a window is cut from the post-net's mel, and where samples are joined."""

    def full(*_: object) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(kind, method, full)
    other = scheduler.submit(TEXT * 20, 2)
    with pytest.raises(MemoryError, match="planted"):
        scheduler.submit(TEXT, 1, stream=StreamOptions()).result(SECONDS)
    assert other.result(SECONDS).seconds > 0


def test_a_failed_batch_ends_the_requests_in_it(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbour has been decoded beside one of them before; they share a batch once their texts are due first."""
    if not isinstance(scheduler._loop._decoder, SharedRows):
        pytest.skip("on this machine, a batch would change what its rows speak")
    texts = {3: TEXT * 30, 1: TEXT, 2: TEXT}
    endless = SpeechOptions(gate_threshold=0.9999999999, attention_stop=False)
    alone = {seed: scheduler.submit(text, seed, endless).result(SECONDS).samples for seed, text in texts.items()}
    launch, begun, submitted = HostSteps.launch, threading.Event(), threading.Event()
    batches: list[set[int]] = []

    def fail(steps: HostSteps, first_step: int) -> None:
        begun.set()
        assert submitted.wait(SECONDS)
        batches.append({noise.key[0] for noise in steps._noises})
        if batches[-1] == {1, 2} and batches.count({1, 2}) == 3:
            raise BackendError("planted")
        launch(steps, first_step)

    monkeypatch.setattr(scheduler._loop._decoder, "max_rows", 2)
    monkeypatch.setattr(HostSteps, "launch", fail)
    handles = {3: scheduler.submit(texts[3], 3, endless)}
    assert begun.wait(SECONDS)
    handles |= {seed: scheduler.submit(texts[seed], seed, endless) for seed in (1, 2)}
    submitted.set()
    for seed in (1, 2):
        with pytest.raises(BackendError, match="planted"):
            handles[seed].result(SECONDS)
    assert (handles[3].result(SECONDS).samples == alone[3]).all()
    assert batches[0] == {3}
    assert {1, 3} in batches[: batches.index({1, 2})]
    monkeypatch.undo()
    for seed, text in texts.items():
        assert (scheduler.submit(text, seed, endless).result(SECONDS).samples == alone[seed]).all()
    assert (scheduler.metrics().failed, scheduler.metrics().active, scheduler.metrics().queued) == (2, 0, 0)


@pytest.mark.parametrize("method", ["is_resting", "deadline", "hungry"])
def test_what_fails_for_one_request_ends_that_one(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Where requests are ranked, and where their pieces are chosen: the oldest fails, not the newest."""
    planted = getattr(WholeSpeech, method)

    def fail(task: SpeechTask, *arguments: Any) -> Any:
        if task.order.seed == 1:
            raise BackendError("planted")
        return planted.__get__(task) if isinstance(planted, property) else planted(task, *arguments)

    monkeypatch.setattr(WholeSpeech, method, property(fail) if isinstance(planted, property) else fail)
    seeds = [1, 2, 3]
    handles = [scheduler.submit(TEXT * 20, seed) for seed in seeds]
    with pytest.raises(BackendError, match="planted"):
        handles[0].result(SECONDS)
    for handle in handles[1:]:
        assert handle.result(SECONDS).seconds > 0
    monkeypatch.undo()
    assert scheduler.submit(TEXT, 1).result(SECONDS).seconds > 0
    assert (scheduler.metrics().failed, scheduler.metrics().active, scheduler.metrics().queued) == (1, 0, 0)


def test_the_newest_makes_room_when_a_pass_fails_for_nobody(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = scheduler.submit(TEXT * 40, 1)
    failed: list[bool] = []

    def fail(candidates: Any, *arguments: Any) -> Any:
        if len({candidate.work[0] for candidate in candidates}) == 2 and not failed:
            failed.append(True)
            raise MemoryError("planted")
        return choose(candidates, *arguments)

    monkeypatch.setattr(loop, "choose", fail)
    with pytest.raises(MemoryError, match="planted"):
        scheduler.submit(TEXT * 40, 2).result(SECONDS)
    assert older.result(SECONDS).seconds > 0
    assert scheduler.submit(TEXT, 3).result(SECONDS).seconds > 0


@pytest.mark.parametrize("lanes", [1, 0], ids=["lanes", "no lanes"])
def test_a_result_that_cannot_be_delivered_ends_its_own_request(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Not the newest one; nor is the lane lost, or without lanes the result of another."""
    loop, ended, submitted = scheduler._loop, threading.Event(), threading.Event()
    failed: list[bool] = []
    if not lanes:
        loop._lanes.close()
        monkeypatch.setattr(loop, "_lanes", Lanes(0, loop._post))
    deliver = loop._lanes._on_end

    def fail(delivery: Any) -> None:
        ended.set()
        assert submitted.wait(SECONDS)
        if not failed:
            failed.append(True)
            raise MemoryError("planted")
        deliver(delivery)

    monkeypatch.setattr(loop._lanes, "_on_end", fail)
    older = scheduler.submit(TEXT, 1)
    assert ended.wait(SECONDS)
    newer = scheduler.submit(TEXT * 40, 2)
    submitted.set()
    try:
        with pytest.raises(MemoryError, match="planted"):
            older.result(SECONDS)
        assert newer.result(SECONDS).seconds > 0
    finally:
        older.cancel()  # the scheduler ends once both have ended
        newer.cancel()


def test_deliveries_after_one_that_fails_are_made(scheduler: Scheduler, caplog: pytest.LogCaptureFixture) -> None:
    """There is no request to end, so the error is logged."""
    made = threading.Event()

    def fail() -> None:
        raise MemoryError("planted")

    with scheduler._loop._condition:  # both come at once
        scheduler._loop._deliveries += fail, made.set
        scheduler._loop._notify()
    assert made.wait(SECONDS)
    assert "the scheduler has failed for no request" in caplog.text
    assert "MemoryError: planted" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_told_to_load_the_voice_again(scheduler: Scheduler, tmp_path: Path) -> None:
    before = scheduler.submit(TEXT)
    before.result(SECONDS)
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with before._condition:  # a lock that in the forked process is held for ever
            is_held.set()
            may_end.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(SECONDS)
    child = os.fork()
    if child != 0:
        may_end.set()
        holder.join()
    else:
        try:
            before.cancel()
            for call in (
                lambda: scheduler.submit(TEXT),
                before.result,
                lambda: list(before.segments()),
                before.poll,
                lambda: before.add_waker(print),
            ):
                with pytest.raises(SchedulerClosed) as caught:
                    call()
                with (tmp_path / "reason").open("a") as file:
                    file.write(f"{caught.value}\n")
            scheduler.close()
        finally:
            os._exit(0)
    deadline = time.monotonic() + SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first, *others = (tmp_path / "reason").read_text().splitlines()
    assert f"in process {os.getpid()}, from which this one was forked; load" in first
    assert others == [f"this request is spoken in process {os.getpid()}, from which this one was forked"] * 4
    assert scheduler.submit(TEXT).result(SECONDS).seconds > 0


@pytest.mark.parametrize("graph", ["encoder", "decoder_step", "postnet", "waveglow"])
@pytest.mark.parametrize("reason", ["std::bad_alloc", "Failed to allocate memory for requested buffer of size 1"])
def test_a_request_for_which_memory_is_short(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, graph: str, reason: str
) -> None:
    before = scheduler.submit(TEXT, 4).result(SECONDS).samples
    runner = scheduler.voice.backend.open(graph)

    class Full:
        """A session of ONNX Runtime without memory."""

        def __init__(self, session: object) -> None:
            self.io_binding = session.io_binding  # type: ignore[attr-defined]

        def run_with_iobinding(self, *_: object) -> None:
            raise RuntimeError(reason)

    monkeypatch.setattr(runner, "_session", Full(runner._session))  # type: ignore[attr-defined]
    with pytest.raises(MemoryError, match=f"{graph}: ONNX Runtime failed: {reason}"):
        scheduler.submit(TEXT, 4).result(SECONDS)
    monkeypatch.undo()
    assert isinstance(runner, GraphRunner)
    assert (scheduler.submit(TEXT, 4).result(SECONDS).samples == before).all()
