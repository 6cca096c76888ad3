"""The scheduler's policy, by tables of cases and by simulating it over random arrivals with a clock of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.runtime.scheduling.policy import (
    DEBT_MAX,
    FIRST_LEAD,
    Candidate,
    Shares,
    Stage,
    choose,
    is_far_ahead,
    is_wanted_soon,
    may_accept,
    may_cut,
    may_open,
    next_job,
    runs_dry,
    segment_deadline,
    whole_deadline,
)

WAITING, DECODING = Stage.WAITING, Stage.DECODING
# name: (candidates as "name": (deadline, stage), max_rows, the names that are chosen)
CASES: dict[str, tuple[dict[str, tuple[float, Stage]], int, str]] = {
    "nothing to do": ({}, 4, ""),
    "the most urgent first": ({"a": (3.0, DECODING), "b": (1.0, DECODING), "c": (2.0, DECODING)}, 2, "bc"),
    "equal ones as they came": ({"a": (1.0, DECODING), "b": (1.0, DECODING), "c": (1.0, DECODING)}, 2, "ab"),
    "one is opened at a time": ({"a": (1.0, WAITING), "b": (2.0, WAITING), "c": (3.0, DECODING)}, 4, "ac"),
    "the most urgent is opened": ({"a": (2.0, WAITING), "b": (1.0, WAITING)}, 4, "b"),
    "an urgent one takes a slot": ({"a": (2.0, DECODING), "b": (3.0, DECODING), "c": (1.0, WAITING)}, 2, "ca"),
    "a late one waits for a slot": ({"a": (1.0, DECODING), "b": (2.0, DECODING), "c": (3.0, WAITING)}, 2, "ab"),
}


# Events, and the debts after them in seconds, by hand.
SHARES: list[tuple[str, list[float]]] = [
    ("want a", []),
    ("give a 3", []),
    ("debt a", [0.0]),  # nobody else wants any
    ("want a b", []),  # b comes with as much as a, the least served one, has had
    ("debt b", [0.0]),
    ("give a 2", []),
    ("debt a", [2.0]),
    ("debt b", [0.0]),
    ("give b 5", []),
    ("debt a", [0.0]),  # the least served one now
    ("debt b", [3.0]),
    ("give a 4 b 0.5", []),
    ("debt a", [0.5]),
    ("debt b", [0.0]),
]


def tell(shares: Shares, event: str) -> list[float]:
    """Return the debt that an event asks for."""
    verb, *arguments = event.split()
    if verb == "want":
        shares.want(arguments)
    elif verb == "give":
        shares.give(dict(zip(arguments[::2], map(float, arguments[1::2]), strict=True)))
    return [shares.debt(arguments[0])] if verb == "debt" else []


def test_shares_by_hand() -> None:
    shares = Shares()
    assert [(event, tell(shares, event)) for event, _ in SHARES] == SHARES


@pytest.mark.parametrize("case", CASES)
def test_choice(case: str) -> None:
    candidates, max_rows, expected = CASES[case]
    offered = [Candidate(deadline, stage, name) for name, (deadline, stage) in candidates.items()]
    assert "".join(candidate.work for candidate in choose(offered, max_rows)) == expected


def test_several_may_be_opened_at_a_time() -> None:
    offered = [Candidate(float(i), WAITING, name) for i, name in enumerate("abc")] + [Candidate(9.0, DECODING, "d")]
    assert "".join(candidate.work for candidate in choose(offered, 8, openings=2)) == "abd"


def test_short_texts_come_before_long_ones_that_came_a_little_earlier() -> None:
    assert whole_deadline(10.0, 30, 1.0) < whole_deadline(9.0, 300, 1.0) < whole_deadline(30.0, 30, 1.0)


def test_a_token_is_60_ms_at_rate_1() -> None:
    assert [whole_deadline(10.0, 50, rate) for rate in (0.5, 1.0, 2.0)] == [16.0, 13.0, 11.5]


def test_first_segments_come_before_all_that_are_not_very_late() -> None:
    now = 100.0
    first = segment_deadline(now, None, 0.0)
    assert first < segment_deadline(now - 0.1, None, 0.5)  # a second segment whose first is still being made
    assert first < segment_deadline(90.0, now + 0.5, 0.0)
    assert first < whole_deadline(now, 1, 1.0)
    assert first < segment_deadline(90.0, now - FIRST_LEAD + 0.1, 0.0)  # this listener has run dry
    assert first > segment_deadline(80.0, now - FIRST_LEAD - 0.1, 0.0)  # and this one long ago


def test_what_comes_late_is_heard_from_then_on() -> None:
    assert runs_dry(10.0, 8.0, 3.0) == 13.0
    assert runs_dry(10.0, 50.0, 3.0) == 53.0


def test_pieces_of_a_whole_request_that_are_open_are_bounded() -> None:
    assert [may_open(open_pieces, 4) for open_pieces in (0, 7, 8)] == [True, True, False]


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


def test_only_what_a_lane_may_take_next_is_made_ready() -> None:
    waiting = [Work(1.0), Work(2.0), Work(3.0)]
    assert [is_wanted_soon(deadline, waiting, 2) for deadline in (0.5, 2.0, 3.0, 4.0)] == [True, True, False, False]


TOKENS = 8  # that a row speaks in a pass
SEGMENT = TOKENS * 0.06  # seconds of speech
PASS = 0.1  # seconds


@dataclass(eq=False)
class Request:
    """A simulated request: so many segments, heard whole or, one by one, as a stream."""

    client: str
    arrival: int  # pass
    segments: int
    is_stream: bool = True
    stage: Stage = WAITING
    done: int = 0  # segments
    dry: float | None = None
    first: int | None = None  # pass of the first segment

    @property
    def deadline(self) -> float:
        if self.is_stream:
            return segment_deadline(self.arrival * PASS, self.dry, 0.0)
        dry = self.arrival * PASS if self.dry is None else self.dry
        return whole_deadline(dry, TOKENS * (self.segments - self.done), 1.0)


class Simulation:
    """A server that makes a segment in every pass for each row that is chosen."""

    def __init__(self, max_rows: int, requests: list[Request]) -> None:
        self.max_rows, self.requests = max_rows, requests
        self.now = 0  # passes
        self.shares = Shares()
        self.made: Counter[str] = Counter()  # segments, by client

    def run(self, passes: int) -> None:
        for _ in range(passes):
            self.step()

    def step(self) -> list[Request]:
        self.requests = [request for request in self.requests if request.done < request.segments]
        present = [request for request in self.requests if request.arrival <= self.now]
        self.shares.want(request.client for request in present)
        offered = [Candidate(r.deadline + self.shares.debt(r.client), r.stage, r) for r in present]
        chosen = [candidate.work for candidate in choose(offered, self.max_rows)]
        assert bool(chosen) == bool(present)  # never idle while there is work
        assert len(chosen) <= self.max_rows
        assert sum(request.stage is WAITING for request in chosen) <= 1
        self.now += 1
        self.shares.give({client: n * SEGMENT for client, n in Counter(each.client for each in chosen).items()})
        for request in chosen:
            now = self.now * PASS
            request.stage, request.first = DECODING, request.first or self.now
            request.done += 1
            request.dry = runs_dry(now if request.dry is None else request.dry, now, SEGMENT)
            self.made[request.client] += 1
        return chosen


FOR_EVER = 1_000_000  # segments
clients = st.sampled_from("abc")
arrivals = st.lists(
    st.builds(Request, clients, st.integers(0, 40), st.integers(1, 12), st.booleans()), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=200)
@given(arrivals, st.integers(1, 3))
def test_every_request_ends(requests: list[Request], max_rows: int) -> None:
    server = Simulation(max_rows, requests)
    server.run(40 + sum(request.segments for request in requests))
    assert all(request.done == request.segments for request in requests)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 30), st.booleans(), st.booleans())
def test_nobody_starves_although_others_keep_coming(hurry: int, is_stream: bool, is_same: bool) -> None:
    """New streams of one segment take all that there is: a request that is behind is still served now and then."""
    patient, passes = Request("a", 0, 100, is_stream), 600
    server = Simulation(1, [patient, *(Request("c", 10, 1) for _ in range(hurry))])
    served = []
    for now in range(passes):
        if now >= 10:
            server.requests.append(Request("b" if is_same else f"b{now}", now, 1))
        if patient in server.step():
            served.append(now)
    longest = max(later - sooner for sooner, later in zip(served, [*served[1:], passes], strict=True))
    expected = 0.0 if is_stream else SEGMENT * patient.segments  # a whole request is due at its end
    assert longest * PASS <= expected + FIRST_LEAD + DEBT_MAX + 2 * SEGMENT + (hurry + len(served)) * PASS


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 3))
def test_shares_hold(streams: int, others: int, max_rows: int) -> None:
    """A client with many long streams leaves every other one a part that is his, up to what he can hear."""
    server = Simulation(max_rows, [Request("greedy", 0, FOR_EVER) for _ in range(streams)])
    server.run(100)
    for other in range(others):
        server.requests.append(Request(f"other {other}", server.now, FOR_EVER))
    server.run(300)
    capacity = max_rows * SEGMENT / PASS
    for other in range(others):
        assert server.made[f"other {other}"] * SEGMENT >= 0.9 * 30 * min(1.0, capacity / (others + 1))


def test_a_client_who_was_alone_owes_nothing_to_one_who_comes_later() -> None:
    early, late = Request("early", 200, FOR_EVER), Request("late", 200, FOR_EVER)
    server = Simulation(1, [Request("early", 0, 200), early, late])
    server.run(220)
    assert (early.done, late.done) == (10, 10)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 3), st.booleans())
def test_late_streams_do_not_outrank_newcomers(streams: int, max_rows: int, is_same: bool) -> None:
    """However long streams have been behind, whoever comes is heard at once, of the same client too."""
    server = Simulation(max_rows, [Request("a", 0, FOR_EVER) for _ in range(streams)])
    server.run(500)
    for _ in range(3):
        newcomer = Request("a" if is_same else "b", server.now, 3)
        server.requests.append(newcomer)
        assert newcomer in server.step()
        server.run(20)


def test_late_whole_requests_do_not_outrank_newcomers() -> None:
    server = Simulation(1, [Request("a", 0, FOR_EVER, is_stream=False), Request("a", 0, 500, is_stream=False)])
    server.run(400)
    late = next(request for request in server.requests if request.segments == 500)
    late.dry = 1.0  # as if nothing of it had been made for a long time
    server.step()
    newcomer = Request("a", server.now, 1)
    server.requests.append(newcomer)
    server.step()
    assert newcomer.done == 1


@settings(deadline=None)
@given(st.lists(st.tuples(clients, st.integers(1, 120), st.booleans()), max_size=60))
def test_overload_is_refused_and_leaves_room_for_others(events: list[tuple[str, int, bool]]) -> None:
    """The limit holds but for what an empty server takes, and whoever holds nothing has all that is free."""
    limit, held = 100, Counter[str]()
    for client, amount, is_end in events:
        total = held.total()
        if is_end:
            held[client] = 0
        elif may_accept(amount, held[client], total, limit):
            held[client] += amount
            assert not total or held[client] <= limit - total
        else:
            assert held[client] + amount + total > limit
        if held.total() < limit:
            assert may_accept(1, 0, held.total(), limit)
    assert held.total() <= limit or len(+held) == 1


def test_one_client_alone_has_half() -> None:
    held = 0
    while may_accept(1, held, held, 100):
        held += 1
    assert held == 50
