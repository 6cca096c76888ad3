"""Continuous batching: many requests at once with one voice, each speaking what it would speak alone.

One thread owns the voice. It decodes a few steps at a time, for the rows that are due first: a request joins the
running decoder between two such chunks and leaves it when its gate fires, and a row that is far ahead rests. The
vocoder's windows go to lanes meanwhile, the most urgent first: first segments of streams, then whoever's listener
would run dry soonest; a request for the whole is due when it could have been heard to its end.

    with Scheduler(Synthesizer.load("voice/", threads=1)) as scheduler:
        handles = [scheduler.submit(text, seed) for seed, text in enumerate(texts)]
        audios = [handle.result() for handle in handles]
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

from ..backends.base import usable_cores
from ..errors import Cancelled, Overloaded, RequestError, SchedulerClosed
from ..noise import Noise
from ..options import SpeechOptions, StreamOptions
from ..pieces import Split, check_silence
from ..synthesizer import Synthesizer
from .handle import SpeechHandle
from .lanes import Lanes
from .metrics import MetricsCounter, SchedulerMetrics
from .policy import Candidate, Stage, choose
from .rows import RowDecoder, SeparateRows, SharedRows, share_steps
from .speeches import Order, SpeechTask, SpokenPiece, StreamSpeech, UnheardSpeech, WholeSpeech

CHUNK_STEPS = 8  # decoder steps between two looks at who joins and leaves
POLL_SECONDS = 0.05  # between looks at deadlines and at requests' own functions for cancelling


@dataclass(frozen=True)
class SchedulerLimits:
    """How much a scheduler takes on."""

    max_queue: int = 64  # requests that wait for their first decoder step; further ones are refused
    max_rows: int | None = None  # rows that decode together; None: the bundle's batch limit
    lanes: int | None = None  # vocoder windows at once on a CPU; None: usable cores / the voice's threads

    def __post_init__(self) -> None:
        for name, value in (("max queue", self.max_queue), ("max rows", self.max_rows), ("lanes", self.lanes)):
            if value is not None and value < 1:
                raise RequestError(f"{name}: expected 1 or more, got {value}")


class Scheduler:
    """Speaks requests of many threads with one voice, which nothing else may use from then on."""

    def __init__(self, voice: Synthesizer, limits: SchedulerLimits | None = None) -> None:
        limits = limits or SchedulerLimits()
        self.voice, self.limits = voice, limits
        batch = voice.manifest.range("B").max
        max_rows = min(limits.max_rows or batch, batch)
        on_gpu = voice.backend.runs_asynchronously
        shared = not on_gpu and share_steps(voice.acoustic, max_rows)
        self._decoder: RowDecoder = (SharedRows if shared else SeparateRows)(voice.acoustic, max_rows)
        self._process = os.getpid()
        self._condition = threading.Condition()  # for the three below
        self._new: deque[SpeechTask] = deque()
        self._deliveries: deque[Callable[[], None]] = deque()
        self._closing = False
        self._woken = False
        self._idle = True
        self._tasks: list[SpeechTask] = []
        self._metrics = MetricsCounter(max_rows)
        self._lanes = Lanes(0 if on_gpu else limits.lanes or _default_lanes(voice), self._post)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def submit(
        self,
        text: str | Split,
        seed: int = 0,
        options: SpeechOptions | None = None,
        stream: StreamOptions | None = None,
        is_heard: bool = True,
    ) -> SpeechHandle:
        """Accept a text; may be called from any thread, and does not wait for its speech.

        text: as it is written, or as the voice's `split` returns it.
        stream: how it is cut into segments, which become available while it is spoken; None: the whole alone is wanted.
        is_heard: false: nobody hears segments before all are there, so that faulty utterances are decoded again.
        Raises TextError or RequestError for what `say` or `stream` would reject, Overloaded if too many requests wait.
        """
        self._check_accepts()
        options = options or SpeechOptions()
        if stream is not None and is_heard:
            options.check_stream()
        frames = None if stream is None else stream.resolve(self.voice.manifest)
        Noise(seed)  # rejects a seed out of range
        resolved = options.resolve(self.voice.manifest)
        split = text if isinstance(text, Split) else self.voice.split(text, options)
        check_silence(split.pieces)
        handle = SpeechHandle(self.voice.manifest.audio.sampling_rate, split.dropped, self._wake, split.remarks)
        resolved = replace(resolved, cancelled=_either(lambda: handle.done, options.cancelled))
        expected = self._metrics.expected_seconds(sum(len(piece.ids) for piece in split.pieces)) / options.rate
        order = Order(self.voice, handle, split, seed, resolved, expected)
        if frames is None:
            task: SpeechTask = WholeSpeech(order)
        else:
            task = StreamSpeech(order, frames) if is_heard else UnheardSpeech(order, frames)
        with self._condition:
            self._check_accepts()
            self._metrics.submitted()
            self._new.append(task)
            self._notify()
        return handle

    def metrics(self) -> SchedulerMetrics:
        """Counters since the start and the present state."""
        return self._metrics.snapshot()

    def expected_wait(self) -> float:
        """Seconds until a new request would have its first audio, as an estimate from the latest ones."""
        return self._metrics.expected_wait()

    def close(self, finish: bool = True) -> None:
        """Accept no further request, and return once all have ended. finish: false: cancel them."""
        if os.getpid() != self._process:
            return  # the threads are the parent's
        with self._condition:
            self._closing = True
            self._notify()
        if not finish:
            self._post(self._cancel_all)
        self._thread.join()
        self._lanes.close()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finish=error is None)

    def _check_accepts(self) -> None:
        if os.getpid() != self._process:
            raise SchedulerClosed(
                f"the scheduler's threads are in process {self._process}, from which this one was forked; "
                "load the voice again here"
            )
        if self._closing:
            raise SchedulerClosed("the server is shutting down; send the request elsewhere")
        if self._metrics.queued >= self.limits.max_queue:
            self._metrics.refused()
            wait = self.expected_wait()
            raise Overloaded(
                f"{self._metrics.queued} requests wait already, the most that this server lets wait; "
                f"try again in {wait:.1f} s",
                wait,
            )

    def _run(self) -> None:
        """The scheduler's thread: decode, hand windows to the lanes, deliver what they have made."""
        while (deliveries := self._receive()) is not None:
            try:
                for deliver in deliveries:
                    deliver()
                self._drop_ended()
                chosen = self._choose()
                self._decode(chosen)
                dispatched = self._dispatch()
                ran = self._lanes.run_next()
                self._idle = not (chosen or dispatched or ran)
            except (
                BaseException
            ) as error:  # a request fails by itself: this is a fault of the scheduler, or a failed batch
                self._fail_all(error)

    def _receive(self) -> list[Callable[[], None]] | None:
        """Take new requests and what the lanes deliver, waiting while there is nothing to do; None once closed and
        done."""
        with self._condition:
            if self._idle and not self._woken and (self._tasks or not self._closing):
                self._condition.wait_for(lambda: self._woken, POLL_SECONDS if self._tasks else None)
            self._woken = False
            self._tasks += self._new
            self._new.clear()
            deliveries = list(self._deliveries)
            self._deliveries.clear()
            is_done = self._closing and not self._tasks
        return None if is_done else deliveries

    def _drop_ended(self) -> None:
        """Check who has been cancelled or is too late, and forget requests that have ended."""
        for task in self._tasks:
            try:
                task.options.check_cancelled()
            except BaseException as error:  # the request's own function may raise anything
                task.handle.fail(error)
        for task in [task for task in self._tasks if task.handle.done]:
            self._tasks.remove(task)
            task.report(self._metrics)

    def _choose(self) -> list[SpokenPiece]:
        """The pieces that decode next, all of them open."""
        candidates = (
            Candidate(task.deadline(), piece.stage, (task, piece)) for task in self._tasks for piece in task.hungry()
        )
        open_rows = sum(len(task.open_pieces) for task in self._tasks)
        chosen = choose(candidates, self._decoder.max_rows, open_rows)
        work = [candidate.work for candidate in chosen]
        return [piece for task, piece in work if piece.stage is not Stage.WAITING or self._open(task)]

    def _open(self, task: SpeechTask) -> bool:
        """Open a task's next piece; false if that fails."""
        was_begun = task.begun
        try:
            task.open_next(self._decoder)
        except BaseException as error:
            task.handle.fail(error)
            return False
        if not was_begun:
            self._metrics.begun()
        return True

    def _decode(self, pieces: list[SpokenPiece]) -> None:
        if not pieces:
            return
        rows = [piece.row for piece in pieces if piece.row is not None]
        start = time.perf_counter()
        steps = self._decoder.advance(rows, CHUNK_STEPS)
        seconds = time.perf_counter() - start
        self._metrics.decoded(len(rows), steps)
        for piece in pieces:
            piece.advanced(seconds / len(rows))

    def _dispatch(self) -> bool:
        """Hand the lanes what they can do now; true if there was something."""
        jobs = [job for task in self._tasks for job in task.jobs(self._decoder)]
        for job in jobs:
            self._lanes.submit(job)
        return bool(jobs)

    def _fail_all(self, error: BaseException) -> None:
        for task in self._tasks:
            task.handle.fail(error)
        self._idle = False

    def _cancel_all(self) -> None:
        self._fail_all(Cancelled("the server is shutting down"))

    def _post(self, delivery: Callable[[], None]) -> None:
        with self._condition:
            self._deliveries.append(delivery)
            self._notify()

    def _wake(self) -> None:
        with self._condition:
            self._notify()

    def _notify(self) -> None:
        self._woken = True
        self._condition.notify()


def _default_lanes(voice: Synthesizer) -> int:
    cores = usable_cores()
    return max(1, cores // (voice.backend.options.threads or cores))


def _either(first: Callable[[], bool], second: Callable[[], bool] | None) -> Callable[[], bool]:
    return first if second is None else lambda: first() or second()
