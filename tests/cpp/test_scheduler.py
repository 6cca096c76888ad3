"""The C++ scheduler: its policy is Python's, its speech is that of requests alone, and its ends are clean."""

from __future__ import annotations

import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacoglow import SpeechOptions, Synthesizer
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.pieces import check_silence
from tacoglow.runtime.scheduling import policy
from tacoglow.runtime.scheduling.policy import Candidate, Shares, Stage
from tacoglow.tests.runtime.scheduling.test_policy import CASES, SHARES, Work, tell

QUESTIONS = 3000
REQUESTS, THREADS, ROUNDS = 40, 8, 12


def run(*command: object) -> str:
    """Return the output of a program; a failure shows the sanitizer's report."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


Question = tuple[str, list[float]]  # a line for the program, and the numbers that Python answers


def ask_choose(offered: list[tuple[float, Stage]], max_rows: int, openings: int = 1) -> Question:
    candidates = [Candidate(deadline, stage, i) for i, (deadline, stage) in enumerate(offered)]
    chosen = [float(candidate.work) for candidate in policy.choose(candidates, max_rows, openings)]
    parts = [f"{deadline!r} {int(stage is Stage.DECODING)}" for deadline, stage in offered]
    return f"choose {max_rows} {openings} {' '.join(parts)}", chosen


def ask_next_job(jobs: list[Work], running: list[Work], lanes: int, is_express: bool) -> Question:
    job = policy.next_job(jobs, running, lanes, is_express)
    numbers = [len(jobs), *(each.deadline for each in jobs + running)]
    return f"next_job {lanes} {int(is_express)} {join(numbers)}", [] if job is None else [float(jobs.index(job))]


def join(numbers: list[float]) -> str:
    return " ".join(map(repr, numbers))


def questions(draw: random.Random) -> Iterator[Question]:
    """The table of Python's tests, then random questions, with few different numbers so that many are equal."""
    for offered, max_rows, _ in CASES.values():
        yield ask_choose(list(offered.values()), max_rows)

    def few(least: int = 0) -> list[float]:
        return [draw.randrange(8) / 4 for _ in range(draw.randrange(least, 6))]

    for _ in range(QUESTIONS):
        pieces = [(each, draw.choice((Stage.WAITING, Stage.DECODING))) for each in few()]
        yield ask_choose(pieces, draw.randint(1, 4), draw.randint(1, 3))
        lanes = draw.randint(1, 3)
        running = [Work(each) for each in few(lanes if draw.random() < 0.7 else 0)]
        yield ask_next_job([Work(each) for each in few()], running, lanes, bool(running) and draw.random() < 0.5)
        jobs, deadline = few(), draw.randrange(8) / 4
        wanted = policy.is_wanted_soon(deadline, map(Work, jobs), lanes)
        yield f"is_wanted_soon {deadline!r} {lanes} {join(jobs)}", [float(wanted)]
        a, b, c, d = (draw.randrange(60) / 4 for _ in range(4))
        yield f"may_accept {join([a, b, c, d])}", [float(policy.may_accept(a, b, c, d))]
        yield f"runs_dry {join([a, b, c])}", [policy.runs_dry(a, b, c)]
        tokens, rate = draw.randrange(300), draw.choice((0.5, 1.0, 1.3, 2.0))
        yield f"whole_deadline {join([a, tokens, rate])}", [policy.whole_deadline(a, tokens, rate)]
        dry = draw.choice((None, b))
        before = draw.choice((0.0, c))
        answer = policy.segment_deadline(a, dry, before)
        yield f"segment_deadline {join([a, math.nan if dry is None else dry, before])}", [answer]
        x, y, z = (draw.randrange(30) for _ in range(3))
        yield f"is_far_ahead {x} {y} {z}", [float(policy.is_far_ahead(x, y, z))]
        yield f"may_cut {x + y} {x}", [float(policy.may_cut(x + y, x))]
        yield f"may_open {x} {y + 1}", [float(policy.may_open(x, y + 1))]


def events_of_shares(draw: random.Random) -> Iterator[Question]:
    """The history of Python's tests, then random events."""
    shares, wanting = Shares(), ["a", "b"]
    yield from ((event, tell(shares, event)) for event, _ in SHARES)
    for _ in range(QUESTIONS):
        if not wanting or draw.random() < 0.3:
            wanting = draw.sample("abcde", draw.randrange(6))
            event = f"want {' '.join(wanting)}"
        elif draw.random() < 0.6:
            event = "give" + "".join(f" {client} {draw.random() * 4!r}" for client in wanting if draw.random() < 0.5)
        else:
            event = f"debt {draw.choice(wanting)}"
        yield event, tell(shares, event)


def test_policy_equals_python(programs: Path) -> None:
    draw = random.Random(11)
    asked = [*questions(draw), *events_of_shares(draw)]
    command = [str(programs / "checks" / "checks"), "policy"]
    lines = "".join(f"{line}\n" for line, _ in asked)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert [(line, answer) for (line, _), answer in zip(asked, answers, strict=True)] == asked


def test_speech_is_that_of_requests_alone(programs: Path, tiny_bundle: Path) -> None:
    """Whole and streamed, of texts and ids, with windows of the attention, rates and retries; bit for bit."""
    program = programs / "checks" / "scheduler_check"
    assert run(program, "same", tiny_bundle, "onnxruntime", REQUESTS, THREADS) == "ok\n"


@pytest.mark.parametrize("backend", ["fake", "fake-apart", "fake-gpu"])
def test_speech_on_fake_backends_is_that_of_requests_alone(programs: Path, tiny_bundle: Path, backend: str) -> None:
    program = programs / "checks" / "scheduler_fake"
    assert run(program, "same", tiny_bundle, backend, REQUESTS, THREADS) == "ok\n"


@pytest.mark.parametrize(("requests", "in_flight"), [(REQUESTS, REQUESTS), (100, 20)], ids=["at once", "at each end"])
@pytest.mark.parametrize("program", ["scheduler_check onnxruntime", "scheduler_fake fake"])
def test_equal_requests_end_as_they_came(
    programs: Path, tiny_bundle: Path, program: str, requests: int, in_flight: int
) -> None:
    name, backend = program.split()
    command = programs / "checks" / name, "order", tiny_bundle, backend, requests, in_flight
    assert run(*command) == "ok\n"


def test_requests_of_a_client_are_vocoded_as_they_came(programs: Path, tiny_bundle: Path) -> None:
    """Beside another client's, although the debts change meanwhile."""
    assert run(programs / "checks" / "checks", "turns", tiny_bundle) == "ok\n"


def test_whole_requests_report_windows_and_stop(programs: Path, tiny_bundle: Path) -> None:
    assert run(programs / "checks" / "checks", "whole_requests", tiny_bundle) == "ok\n"


@pytest.mark.parametrize(
    ("text", "ssml", "sentence_silence", "asked"),
    [
        ("Hi. " + "[pause 10s]" * 12, 0, -1.0, None),
        ("Hi. " + "[pause 10s]" * 12 + "[pause 0.7s] Hi.", 0, -1.0, "120.7"),  # beside the one before it
        ("[pause 10s]" * 13 + " Hi.", 0, -1.0, "130"),
        ("Hi. [pause 0.7s] " * 200, 0, -1.0, None),  # 140 seconds, as punctuation makes them
        ("Hi. " * 16, 0, 10.0, "150"),
        ("Hi. " * 13, 0, 10.0, None),
        ("Hi. " * 101, 0, 1.2, None),  # 120 seconds, although 100 times 1.2 is added up to a little more
        ("Hi. " * 101 + "[pause 1s]", 0, 1.2, "121"),
        ("<speak>Hi. " + '<break time="10s"/>' * 13 + "Hi.</speak>", 1, -1.0, "130"),
        ("<speak>Hi. " + '<break time="10s"/>' * 12 + "Hi.</speak>", 1, -1.0, None),
    ],
)
def test_silence_is_limited_as_in_python(
    programs: Path, tiny_bundle: Path, text: str, ssml: int, sentence_silence: float, asked: str | None
) -> None:
    program = programs / "checks" / "scheduler_fake"
    own = run(program, "submit", tiny_bundle, "fake-text", ssml, sentence_silence, text)
    voice = Synthesizer.load(tiny_bundle, threads=1)
    options = SpeechOptions(ssml=bool(ssml), sentence_silence=None if sentence_silence < 0.0 else sentence_silence)
    try:
        check_silence(voice.split(text, options).pieces)
        message = ""
    except RequestError as error:
        message = str(error)
    assert message == (f"text: expected at most 120 seconds of pauses, got {asked}" if asked else "")
    assert own == f"{3 if asked else 0} {message}\nok\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told_to_open_the_voice(programs: Path, tiny_bundle: Path) -> None:
    """Wherever it would wait for the threads of the other process for ever."""
    *told, end = run(programs / "checks" / "scheduler_fake", "fork", tiny_bundle, "fake").splitlines()
    assert end == "ok"
    assert len(told) == 3
    for line in told:
        assert re.fullmatch(
            r"3 scheduler: its threads are in process \d+, from which this one was forked; open .*", line
        )


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts threads on Linux only")
def test_a_system_without_threads_is_named(programs: Path, tiny_bundle: Path) -> None:
    told = run(programs / "checks" / "scheduler_fake", "threads", tiny_bundle, "fake")
    assert told.startswith("6 the system gives this process no more threads: raise its limit (ulimit -u, ")


def test_ends_in_any_order(programs: Path, tiny_bundle: Path) -> None:
    assert run(programs / "checks" / "scheduler_check", "ends", tiny_bundle, "onnxruntime", ROUNDS) == "ok\n"


@pytest.mark.parametrize("backend", ["fake", "fake-apart", "fake-gpu"])
def test_running_out_of_memory_ends_requests_alone(programs: Path, tiny_bundle: Path, backend: str) -> None:
    """Single allocations fail, and many in a row, at points all over the life of a scheduler."""
    assert run(programs / "checks" / "out_of_memory", tiny_bundle, backend, 60) == "ok\n"


@pytest.mark.builds
@pytest.mark.parametrize("backend", ["fake", "fake-apart", "fake-gpu"])
def test_threads_do_not_race(thread_programs: Path, tiny_bundle: Path, backend: str) -> None:
    """Built with the thread sanitizer, on fake backends, because ONNX Runtime is not."""
    program = thread_programs / "checks" / "scheduler_fake"
    assert run(program, "same", tiny_bundle, backend, REQUESTS, THREADS) == "ok\n"
    assert run(program, "ends", tiny_bundle, backend, 60) == "ok\n"
