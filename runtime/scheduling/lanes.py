"""Threads that run the vocoder for a scheduler, the job with the earliest deadline first.

A window of a long text takes seconds and cannot be interrupted. One lane is therefore reserved for jobs that are more
urgent than any that is running. On Linux the other lanes run at a lower priority, so that it overtakes them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from .policy import is_wanted_soon, next_job

NICENESS = 5  # of all lanes but the first: about a third of its share of a core


@dataclass(eq=False)
class Job:
    """Work that any thread may do, for one request."""

    due: float  # time.monotonic() at which its result is needed
    client: Hashable
    work: Callable[[], Any]
    deliver: Callable[[Any], None]  # called with the result, in the scheduler's thread
    fail: Callable[[BaseException], None]  # called instead with the error, in any thread
    is_wanted: Callable[[], bool]  # false once the request has ended
    debt: float = 0.0  # seconds by which it is served as if it were due later

    @property
    def deadline(self) -> float:
        return self.due + self.debt


class Lanes:
    """Runs jobs in `count` threads and one for urgent jobs; with 0, in the thread that calls `run_next`."""

    def __init__(self, count: int, on_end: Callable[[Callable[[], None]], None]) -> None:
        """on_end: takes the call that delivers a job's result; called in the lane's thread."""
        self._on_end = on_end
        self._condition = threading.Condition()
        self._jobs: list[Job] = []  # in the order in which they came
        self._running: list[Job] = []
        self._closed = False
        self._count = count
        names = [f"vocoder-{i}" for i in range(count + 1)] if count else []
        self._threads = [
            threading.Thread(target=self._run, args=(i == 0,), name=name, daemon=True) for i, name in enumerate(names)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        with self._condition:
            self._jobs.append(job)
            self._condition.notify_all()

    def owe(self, debt: Callable[[Hashable], float]) -> None:
        """Take the clients' present debts, so that each one's jobs keep their order, whenever they became ready."""
        with self._condition:
            for job in (*self._jobs, *self._running):
                job.debt = debt(job.client)

    def has_room(self, deadline: float) -> bool:
        """True if a job with this deadline should be made ready now."""
        with self._condition:
            return is_wanted_soon(deadline, self._jobs, self._count)

    def run_next(self) -> bool:
        """Run the most urgent job in this thread, if there are no lanes; returns false if there is none."""
        job = None if self._count else next_job(self._jobs, (), 0, is_express=False)
        if job is None:
            return False
        self._jobs.remove(job)
        self._end(job, self._do(job))
        return True

    def close(self) -> None:
        """Stop the threads after the jobs that run; further ones are dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, is_express: bool) -> None:
        if not is_express and sys.platform == "linux":
            os.nice(NICENESS)  # on Linux, of this thread alone
        while self._run_one(is_express):
            pass

    def _run_one(self, is_express: bool) -> bool:
        """Wait for a job and run it; false once closed. A function of its own, as the scheduler's `_pass` is."""
        job = self._take(is_express)
        if job is None:
            return False
        delivery = self._do(job)
        with self._condition:
            self._running.remove(job)
            self._condition.notify_all()
        self._end(job, delivery)
        return True

    def _take(self, is_express: bool) -> Job | None:
        with self._condition:
            while not self._closed:
                job = next_job(self._jobs, self._running, self._count, is_express)
                if job is not None:
                    self._jobs.remove(job)
                    self._running.append(job)
                    return job
                self._condition.wait()
            return None

    def _end(self, job: Job, delivery: Callable[[], None]) -> None:
        try:
            self._on_end(delivery)
        except BaseException as error:  # the result is lost, but neither the request's end nor this thread
            job.fail(error)

    def _do(self, job: Job) -> Callable[[], None]:
        if not job.is_wanted():
            return lambda: None
        try:
            result = job.work()
        except BaseException as error:  # a request's own function may raise anything
            failure = error  # the name `error` ends with this block
            return lambda: job.fail(failure)
        return lambda: _deliver(job, result)


def _deliver(job: Job, result: Any) -> None:
    try:
        job.deliver(result)
    except BaseException as error:  # for instance without memory for the whole
        job.fail(error)
