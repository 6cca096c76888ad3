"""The thread that owns a voice: it decodes a few steps at a time, and hands the vocoder's windows to the lanes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from ..decoder import Profile
from ..errors import Cancelled, SchedulerClosed
from ..synthesizer import Synthesizer
from .lanes import Lanes
from .metrics import MetricsCounter
from .policy import Candidate, Shares, Stage, choose
from .rows import new_row_decoder
from .speeches import SpeechTask, SpokenPiece

logger = logging.getLogger("tacoglow")
CHUNK_STEPS = 8  # decoder steps on a CPU between two looks at who joins and leaves
POLL_SECONDS = 0.05  # between looks at deadlines, at unread speech and at requests' own functions for cancelling

Ranked = list[tuple[float, SpeechTask]]  # requests and their deadlines
Work = list[tuple[SpeechTask, SpokenPiece]]


@contextmanager
def failure_ends(*tasks: SpeechTask) -> Iterator[None]:
    """What is raised in the block ends these requests, for which it was done, and no others."""
    try:
        yield
    except BaseException as error:
        for task in tasks:
            task.handle.fail(error)


class Loop:
    """Speaks what `add` brings. Knows nothing of whoever brings it, so that a scheduler can be dropped."""

    def __init__(
        self, voice: Synthesizer, max_rows: int, profile: Profile, lanes: int | None, metrics: MetricsCounter
    ) -> None:
        """lanes: vocoder windows at once on a CPU; None: usable cores / the voice's threads."""
        on_gpu = voice.backend.runs_asynchronously
        self._decoder = new_row_decoder(voice.acoustic, max_rows, profile)
        self._seconds_per_frame = voice.manifest.audio.hop_length / voice.manifest.audio.sampling_rate
        self._metrics = metrics
        self._process = os.getpid()
        self._condition = threading.Condition()  # for the four below
        self._new: deque[SpeechTask] = deque()
        self._deliveries: deque[Callable[[], None]] = deque()
        self._closing = False
        self._woken = False
        self._idle = True
        self._tasks: list[SpeechTask] = []
        self._received: deque[Callable[[], None]] = deque()
        self._shares = Shares()
        self._lanes = Lanes(0 if on_gpu else lanes or voice.backend.parallel_runs, self._post)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def check_accepts(self) -> None:
        """Raises SchedulerClosed once it is closing."""
        if os.getpid() != self._process:
            raise SchedulerClosed(
                f"the scheduler's threads are in process {self._process}, from which this one was forked; "
                "load the voice again here"
            )
        if self._closing:
            raise SchedulerClosed("the server is shutting down; send the request elsewhere")

    def add(self, task: SpeechTask) -> None:
        """Begin a request. Raises SchedulerClosed."""
        with self._condition:
            self.check_accepts()
            self._metrics.submitted()
            self._new.append(task)
            self._notify()

    def wake(self) -> None:
        """Look at once at who has been cancelled."""
        with self._condition:
            self._notify()

    def stop(self, finish: bool = False) -> None:
        """Accept no further request, and end once all have ended; returns at once. finish: false: cancel them."""
        if os.getpid() != self._process:
            return  # the threads are the parent's
        with self._condition:
            self._closing = True
            self._notify()
        if not finish:
            self._post(self._cancel_all)

    def close(self, finish: bool = False) -> None:
        """`stop`, and return once it has ended."""
        self.stop(finish)
        if os.getpid() == self._process:
            self._thread.join()

    def _run(self) -> None:
        while self._pass():
            pass
        self._lanes.close()

    def _pass(self) -> bool:
        """Do what there is to do, waiting while there is nothing; false once closed and done.

        A function of its own, so that a thread that waits holds no request, whose handle holds the scheduler.
        """
        if not self._receive():
            return False
        try:
            while self._received:  # one by one: what is left when one fails is for the next pass
                self._received.popleft()()
            self._drop_ended()
            going = self._going()
            chosen = self._choose(self._rank(going))
            self._decode(chosen)
            dispatched = self._dispatch(self._rank(going))
            ran = self._lanes.run_next()
            self._idle = not (chosen or dispatched or ran)
        except BaseException as error:  # for no single request: then the newest makes room for the others, as in C++
            if self._tasks:
                self._tasks[-1].handle.fail(error)
            else:
                logger.error("the scheduler has failed for no request", exc_info=error)
            self._idle = not (self._tasks or self._received)
        return True

    def _receive(self) -> bool:
        """Take new requests and what the lanes deliver, waiting while there is nothing to do; false once closed and
        done."""
        with self._condition:
            if self._idle and not self._woken and (self._tasks or not self._closing):
                self._condition.wait_for(lambda: self._woken, POLL_SECONDS if self._tasks else None)
            self._woken = False
            self._tasks += self._new
            self._new.clear()
            self._received += self._deliveries
            self._deliveries.clear()
            return bool(self._tasks) or not self._closing

    def _drop_ended(self) -> None:
        """Check who has been cancelled or is too late, and forget requests that have ended."""
        for task in self._tasks:
            with failure_ends(task):
                task.options.check_cancelled()
        going = []
        for task in self._tasks:
            if task.handle.done:  # asked once: it may be cancelled at any moment, and would be forgotten unreported
                with failure_ends(task):
                    task.report(self._metrics)
            else:
                going.append(task)
        self._tasks = going

    def _going(self) -> Ranked:
        """The requests that are not resting; none rests at the end, when nobody may read any more."""
        going: Ranked = []
        for task in self._tasks:
            with failure_ends(task):
                if self._closing or not task.is_resting:
                    going.append((task.deadline(), task))
        self._shares.want(task.client for _, task in going)
        return going

    def _rank(self, going: Ranked) -> Ranked:
        """The same by their clients' present debts, the earliest first."""
        ranked = [(deadline + self._shares.debt(task.client), task) for deadline, task in going]
        ranked.sort(key=lambda each: each[0])
        return ranked

    def _choose(self, ranked: Ranked) -> Work:
        """The pieces that decode next, all of them open."""
        max_rows = self._decoder.max_rows
        candidates: list[Candidate[tuple[SpeechTask, SpokenPiece]]] = []
        for deadline, task in ranked:
            with failure_ends(task):
                candidates += [Candidate(deadline, piece.stage, (task, piece)) for piece in task.hungry(max_rows)]
        chosen: Work = []
        for candidate in choose(candidates, max_rows, self._decoder.openings):
            task, piece = candidate.work
            with failure_ends(task):
                if piece.stage is Stage.WAITING:
                    self._open(task)
                chosen.append((task, piece))
        return chosen

    def _open(self, task: SpeechTask) -> None:
        """Open a task's next piece."""
        was_begun = task.begun
        task.open_next(self._decoder)
        if not was_begun:
            self._metrics.begun()

    def _decode(self, chosen: Work) -> None:
        if not chosen:
            return
        rows = [piece.row for _, piece in chosen if piece.row is not None]
        with failure_ends(*(task for task, _ in chosen)):
            start = time.perf_counter()
            steps = self._decoder.advance(rows, CHUNK_STEPS)
            seconds = time.perf_counter() - start
            self._metrics.decoded(len(rows), steps)
            given: Counter[Hashable] = Counter()  # frames, by client; a GPU's may have been read while the row rested
            for (task, _), row in zip(chosen, rows, strict=True):
                given[task.client] += row.take_frames()
            self._shares.give({client: frames * self._seconds_per_frame for client, frames in given.items()})
            for task, piece in chosen:
                with failure_ends(task):
                    piece.advanced(seconds / len(rows))

    def _dispatch(self, ranked: Ranked) -> bool:
        """Hand the lanes what they can do next; true if there was something."""
        self._lanes.owe(self._shares.debt)
        dispatched = False
        for deadline, task in ranked:
            if not self._lanes.has_room(deadline):
                break
            with failure_ends(task):
                dispatched |= self._dispatch_jobs(task)
        return dispatched

    def _dispatch_jobs(self, task: SpeechTask) -> bool:
        """Hand the lanes what they can do next for one request."""
        dispatched, debt = False, self._shares.debt(task.client)
        for job in task.jobs(self._decoder):
            job.debt = debt
            self._lanes.submit(job)
            dispatched = True
            if not self._lanes.has_room(task.deadline() + debt):
                break
        return dispatched

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.handle.fail(Cancelled("the server is shutting down"))

    def _post(self, delivery: Callable[[], None]) -> None:
        with self._condition:
            self._deliveries.append(delivery)
            self._notify()

    def _notify(self) -> None:
        self._woken = True
        self._condition.notify()
