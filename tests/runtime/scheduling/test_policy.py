"""The scheduler's policy, by a table of cases and by simulating it over random arrivals with a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.runtime.scheduling.policy import (
    Candidate,
    Stage,
    choose,
    is_far_ahead,
    may_cut,
    next_job,
    segment_deadline,
    whole_deadline,
)

WAITING, DECODING = Stage.WAITING, Stage.DECODING
# name: (candidates as "name": (deadline, stage), max_rows, open rows, the names that are chosen)
CASES: dict[str, tuple[dict[str, tuple[float, Stage]], int, int, str]] = {
    "nothing to do": ({}, 4, 0, ""),
    "the most urgent first": ({"a": (3.0, DECODING), "b": (1.0, DECODING), "c": (2.0, DECODING)}, 2, 3, "bc"),
    "equal ones as they came": ({"a": (1.0, DECODING), "b": (1.0, DECODING), "c": (1.0, DECODING)}, 2, 3, "ab"),
    "one is opened at a time": ({"a": (1.0, WAITING), "b": (2.0, WAITING), "c": (3.0, DECODING)}, 4, 1, "ac"),
    "the most urgent is opened": ({"a": (2.0, WAITING), "b": (1.0, WAITING)}, 4, 0, "b"),
    "an urgent one takes a slot": ({"a": (2.0, DECODING), "b": (3.0, DECODING), "c": (1.0, WAITING)}, 2, 2, "ca"),
    "a late one waits for a slot": ({"a": (1.0, DECODING), "b": (2.0, DECODING), "c": (3.0, WAITING)}, 2, 2, "ab"),
    "the last row that may be open": ({"a": (1.0, WAITING), "b": (2.0, DECODING)}, 2, 7, "ab"),
    "too many rows are open": ({"a": (1.0, WAITING), "b": (2.0, DECODING)}, 2, 8, "b"),
}


@pytest.mark.parametrize("case", CASES)
def test_choice(case: str) -> None:
    candidates, max_rows, open_rows, expected = CASES[case]
    offered = [Candidate(deadline, stage, name) for name, (deadline, stage) in candidates.items()]
    assert "".join(candidate.work for candidate in choose(offered, max_rows, open_rows)) == expected


def test_short_texts_come_before_long_ones_that_came_a_little_earlier() -> None:
    assert whole_deadline(10.0, 2.0) < whole_deadline(9.0, 20.0) < whole_deadline(30.0, 2.0)


def test_first_segments_come_before_all_that_are_not_late() -> None:
    now = 100.0
    first = segment_deadline(now, None, 0.0)
    assert first < segment_deadline(now - 0.1, None, 0.5)  # a second segment whose first is still being made
    assert first < segment_deadline(90.0, 91.0, 9.5)
    assert first < whole_deadline(now, 0.1)
    assert segment_deadline(90.0, 91.0, 8.5) < first  # this listener has run dry


def test_stream_rests_once_it_has_two_segments() -> None:
    assert not is_far_ahead(decoded=40, wanted=30, segment=20)
    assert is_far_ahead(decoded=50, wanted=30, segment=20)


def test_stream_has_two_segments_in_flight() -> None:
    assert [may_cut(cut, delivered) for cut, delivered in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 1))] == [
        True,
        True,
        False,
        True,
        False,
    ]


@dataclass(eq=False)
class Work:
    deadline: float


@pytest.mark.parametrize(
    ("waiting", "running", "is_express", "taken"),
    [
        ([], [], False, None),
        ([3.0, 1.0, 2.0], [], False, 1.0),
        ([5.0], [1.0, 2.0], False, 5.0),
        ([], [1.0, 2.0], True, None),
        ([1.0], [2.0], True, None),  # another lane is idle
        ([3.0, 1.0], [2.0, 4.0], True, 1.0),
        ([3.0], [2.0, 4.0], True, None),
        ([2.0], [2.0, 4.0], True, None),
    ],
)
def test_job_of_an_idle_lane(waiting: list[float], running: list[float], is_express: bool, taken: float | None) -> None:
    jobs = [Work(deadline) for deadline in waiting]
    job = next_job(jobs, [Work(deadline) for deadline in running], 2, is_express)
    assert (job and job.deadline) == taken


def test_equal_jobs_are_taken_as_they_came() -> None:
    jobs = [Work(1.0), Work(1.0)]
    assert next_job(jobs, [], 1, is_express=False) is jobs[0]


@dataclass(eq=False)
class Request:
    """A simulated request: one piece of `steps` decoder passes, heard whole or, segment by segment, as a stream."""

    arrival: int  # pass
    steps: int
    is_stream: bool
    stage: Stage = WAITING
    done: int = 0  # steps
    first: int | None = None  # pass of the first step

    @property
    def deadline(self) -> float:
        if self.is_stream:
            return segment_deadline(self.arrival, self.first, self.done)
        return whole_deadline(self.arrival, 2 * self.steps)


arrivals = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None, max_examples=200)
@given(arrivals, st.integers(1, 3))
def test_nobody_starves(drawn: list[tuple[int, int, bool]], max_rows: int) -> None:
    """A pass gives one step to each row that is chosen.

    Nobody is passed over for a request that came after its deadline; with as many passes as steps, all are done.
    """
    requests = [Request(*values) for values in sorted(drawn)]
    total = sum(request.steps for request in requests)
    for now in range(40 + 2 * total + 1):
        present = [request for request in requests if request.arrival <= now and request.done < request.steps]
        is_open = [request for request in present if request.stage is DECODING]
        assert len(is_open) <= 4 * max_rows
        chosen = [
            candidate.work
            for candidate in choose([Candidate(r.deadline, r.stage, r) for r in present], max_rows, len(is_open))
        ]
        assert bool(chosen) == bool(present)  # never idle while there is work
        assert len(chosen) <= max_rows
        assert sum(request.stage is WAITING for request in chosen) <= 1
        for request in present:
            if request not in chosen and request.stage is DECODING:
                assert all(other.deadline <= request.deadline for other in chosen)
                assert not any(other.arrival > request.deadline for other in chosen)
        unheard = next((request for request in present if request.is_stream and request.first is None), None)
        if unheard is not None and len(is_open) < 4 * max_rows:  # first segments first
            is_due_first = all(request.deadline > unheard.deadline for request in present if request is not unheard)
            assert unheard in chosen or not is_due_first
        advance(chosen, now)
    assert all(request.done == request.steps for request in requests)


def advance(chosen: list[Request], now: int) -> None:
    for request in chosen:
        request.stage = DECODING
        request.first = now if request.first is None else request.first
        request.done += 1


def test_long_text_is_spoken_although_streams_keep_coming() -> None:
    """Twice as many steps are asked for as there are: the text waits until it is due, and then no longer."""
    long = Request(0, 10, is_stream=False)  # due at pass 20, until when streams of 40 steps come
    present = [long]
    for now in range(20 + 40 + 10):
        present.append(Request(now, 2, is_stream=True))
        present = [request for request in present if request.done < request.steps]
        open_rows = sum(request.stage is DECODING for request in present)
        offered = [Candidate(request.deadline, request.stage, request) for request in present]
        advance([candidate.work for candidate in choose(offered, 1, open_rows)], now)
    assert long.done == long.steps
