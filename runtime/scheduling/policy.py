"""Decides what is done next: which pieces decode, which job the vocoder takes, who is accepted. Pure: no threads, no
clock.

Everything has a deadline and the earliest comes first, of equal ones the first that came. A deadline moves on with
every result, however late that is: a listener who has run dry plays what comes and runs dry again, so that nobody who
is behind stays ahead of all others. Between two results it stands still, so that nothing waits forever.

A client who has had more speech than others while they wanted some too is in their debt, and is served as if its
deadlines were later by that.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

OPEN_PIECES = 2  # times max_rows: pieces of a request for the whole, from its first decoder step to its last sample
SEGMENTS_IN_FLIGHT = 2  # of one stream: more cores than one serve a lone stream too
FIRST_LEAD = 5.0  # seconds that listeners who have run dry wait at most for those who have heard nothing yet
SECONDS_PER_TOKEN = 0.06  # of speech at rate 1, roughly: if it changed, later requests would overtake equal ones
UNREAD_MAX = 5.0  # seconds of a stream that nobody has taken yet, beyond which it rests
DEBT_MAX = 10.0  # seconds of speech

W = TypeVar("W")
J = TypeVar("J", bound="Due")


class Stage(Enum):
    """How far a piece of a request has come."""

    WAITING = auto()  # for its decoder row
    DECODING = auto()
    DECODED = auto()  # to its end; the vocoder has not got all of it
    VOCODING = auto()  # the vocoder has got all of it
    SPOKEN = auto()


class Due(Protocol):
    """Work whose result is needed at a time."""

    @property
    def deadline(self) -> float:
        """Seconds, on any clock."""


@dataclass(frozen=True)
class Candidate(Generic[W]):
    """A piece that decoder steps would help now: one that decodes, or the first of its request that waits."""

    deadline: float
    stage: Stage  # WAITING or DECODING
    work: W  # for the caller


def may_accept(amount: float, held: float, total: float, limit: float) -> bool:
    """True if a client who holds `held` of the `total` that is taken may have `amount` more.

    Nobody may hold more than he leaves free: there is always room for a small request of somebody else. An empty
    server takes everything.
    """
    return total == 0 or held + amount <= limit - total


def runs_dry(dry: float, now: float, seconds: float) -> float:
    """When a listener will have heard everything, who gets `seconds` more now and would have run dry at `dry`."""
    return max(dry, now) + seconds


def whole_deadline(dry: float, tokens_left: int, rate: float) -> float:
    """When the speech could have been heard to its end by a listener who began at once: short texts come before long
    ones. dry: when that listener will have heard what is complete; tokens_left: not spoken yet; rate: of speaking."""
    return dry + tokens_left * SECONDS_PER_TOKEN / rate


def segment_deadline(submitted: float, dry: float | None, seconds_before: float) -> float:
    """When a listener needs a stream's next segment. dry: when he will have heard what he has; None: he has nothing.
    seconds_before: of segments that the vocoder has got and he has not."""
    if dry is None:
        return submitted + (seconds_before or -FIRST_LEAD)
    return dry + seconds_before


def is_far_ahead(decoded: int, wanted: int, segment: int) -> bool:
    """True for a stream's row that may rest: it has the frames of the next segment, `wanted`, and of the one after it,
    of `segment` frames."""
    return decoded >= wanted + segment


def may_cut(cut: int, delivered: int) -> bool:
    """True if the vocoder may get another segment of a stream."""
    return cut - delivered < SEGMENTS_IN_FLIGHT


def may_open(open_pieces: int, max_rows: int) -> bool:
    """True if a request for the whole may begin another piece beside those that it has begun and not completed."""
    return open_pieces < OPEN_PIECES * max_rows


def choose(candidates: Iterable[Candidate[W]], max_rows: int, openings: int = 1) -> list[Candidate[W]]:
    """The pieces that decode next; `openings` of them may wait for their rows, because opening one takes a while."""
    chosen: list[Candidate[W]] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.deadline):
        if len(chosen) == max_rows:
            break
        if candidate.stage is Stage.WAITING:
            if openings == 0:
                continue
            openings -= 1
        chosen.append(candidate)
    return chosen


def next_job(jobs: Sequence[J], running: Sequence[J], lanes: int, is_express: bool) -> J | None:
    """The job that an idle lane takes, if any.

    A job cannot be interrupted, so one lane beside the `lanes` others is an express lane: while all of them run it
    takes a job that is due before all that run, and no other.
    """
    job = min(jobs, key=_deadline, default=None)
    if job is None or not is_express:
        return job
    is_urgent = len(running) >= lanes and job.deadline < min(map(_deadline, running))
    return job if is_urgent else None


def is_wanted_soon(deadline: float, jobs: Iterable[Due], lanes: int) -> bool:
    """True for a job with this deadline if it should be made ready now, beside `jobs` that wait for one of so many
    lanes: only what a lane may take next, so that something more urgent can still come before it."""
    return sum(job.deadline <= deadline for job in jobs) <= lanes


class Shares:
    """How much speech each client has had while others wanted some too: start-time fair queueing."""

    def __init__(self) -> None:
        self._had: dict[Hashable, float] = {}  # seconds of speech, counted as below
        self._least = 0.0  # of those who want some
        self._wanting: set[Hashable] = set()

    def want(self, clients: Iterable[Hashable]) -> None:
        """Tell who wants speech now. Whoever comes, or comes again, has had as much as the least served of them."""
        wanting = set(clients)
        for client in wanting - self._wanting:
            self._had[client] = max(self._had.get(client, 0.0), self._least)
        self._wanting = wanting
        self._find_least()
        # What others have had too is forgotten, and with an idle server everything.
        self._had = {c: had for c, had in self._had.items() if c in wanting or (wanting and had > self._least)}

    def give(self, seconds: Mapping[Hashable, float]) -> None:
        """Take note of what clients who want speech have got, all of a pass at once: this looks at every client."""
        for client, more in seconds.items():
            self._had[client] += more
        self._find_least()

    def debt(self, client: Hashable) -> float:
        """Seconds by which a client has had more than the least served one of those who want speech."""
        return min(max(self._had.get(client, 0.0) - self._least, 0.0), DEBT_MAX)

    def _find_least(self) -> None:
        self._least = min((self._had[client] for client in self._wanting), default=self._least)


def _deadline(work: Due) -> float:
    return work.deadline
