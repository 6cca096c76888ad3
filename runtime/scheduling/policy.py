"""Decides what is done next: which pieces decode, which job the vocoder takes. Pure: no threads, no clock, no change.

Everything has a deadline and the earliest comes first, of equal ones the first that came. Whatever waits becomes more
urgent than all that comes later, so nothing waits forever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

OPEN_ROWS = 4  # times max_rows: rows begun but not finished, of which those that do not decode wait or rest
SEGMENTS_IN_FLIGHT = 2  # of one stream: more cores than one serve a lone stream too

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


def whole_deadline(submitted: float, expected_seconds: float) -> float:
    """When the speech could have been heard to its end by a listener who began at once: short texts come before long
    ones."""
    return submitted + expected_seconds


def segment_deadline(submitted: float, first_audio: float | None, seconds_before: float) -> float:
    """When a listener needs a stream's next segment: the first one at once, another when all before it, of
    `seconds_before` in all, have been heard. first_audio: when the first one was handed over."""
    return (submitted if first_audio is None else first_audio) + seconds_before


def is_far_ahead(decoded: int, wanted: int, segment: int) -> bool:
    """True for a stream's row that may rest: it has the frames of the next segment, `wanted`, and of the one after it,
    of `segment` frames."""
    return decoded >= wanted + segment


def may_cut(cut: int, delivered: int) -> bool:
    """True if the vocoder may get another segment of a stream."""
    return cut - delivered < SEGMENTS_IN_FLIGHT


def choose(candidates: Iterable[Candidate[W]], max_rows: int, open_rows: int) -> list[Candidate[W]]:
    """The pieces that decode next; at most one of them waits for its row, because opening one takes a while.

    open_rows: rows that are open now, decoding or not.
    """
    may_open = open_rows < OPEN_ROWS * max_rows
    chosen: list[Candidate[W]] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.deadline):
        if len(chosen) == max_rows:
            break
        if candidate.stage is Stage.WAITING:
            if not may_open:
                continue
            may_open = False
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


def _deadline(work: Due) -> float:
    return work.deadline
