"""Shared by the two text models: one scheduler per process; each request is answered when its own speech is ready."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, ClassVar

from ..runtime.options import StreamOptions
from ..runtime.quality import Quality
from ..runtime.scheduling.handle import SpeechHandle
from ..runtime.scheduling.scheduler import Scheduler, SchedulerLimits
from ..text import describe_dropped
from .contract import SpeechRequest, Tensors, read_request
from .python_backend import ServedVoice, error_response, exit_with_parent, finish, read_tensors

SLOTS = 4  # requests per row that are decoded, or wait for it, at once
CANCEL_POLL_SECONDS = 0.1  # between two questions to Triton whether a request is cancelled


class Answer(ABC):
    """A request that is being spoken, and Triton's sender of its responses."""

    def __init__(self, sender: Any, request: SpeechRequest, handle: SpeechHandle) -> None:
        self.sender, self.request, self.handle = sender, request, handle
        self.is_ended = False

    def warning(self, quality: Quality) -> str:
        """Describes what is not spoken, or not as the text asks, and the faults of speech; empty if all is well."""
        faults = map(str, quality.faults)
        return "; ".join(filter(None, (describe_dropped(self.handle.dropped), *self.handle.remarks, *faults)))

    @abstractmethod
    def send_news(self) -> None:
        """Send what is new; sets is_ended with the last response."""


class TextModel(ABC):
    """Triton's model interface. Requests join the running decoder; `execute` returns before they are answered."""

    stream: ClassVar[StreamOptions | None]
    answer_type: ClassVar[type[Answer]]

    def initialize(self, arguments: dict[str, str]) -> None:
        exit_with_parent()
        self.start(ServedVoice.load(arguments))

    def start(self, served: ServedVoice) -> None:
        self._served = served
        slots = served.streams if self.stream else SLOTS * served.voice.manifest.range("B").max
        self._slots = threading.Semaphore(slots)
        limits = SchedulerLimits(max_backlog=sys.maxsize, profile=served.profile)  # the slots are the limit
        self._scheduler = Scheduler(served.voice, limits)
        self._news: SimpleQueue[Answer | None] = SimpleQueue()  # answers that have something to send; None: closed
        self._thread = threading.Thread(target=self._send, name="answers", daemon=True)
        self._thread.start()

    def execute(self, requests: Sequence[Any]) -> None:
        """Begin requests; returns once a slot is free. Until then, further requests wait in Triton's queue."""
        for request in requests:
            self._slots.acquire()
            sender = request.get_response_sender()
            try:
                answer = self.begin(sender, read_tensors(request))
            except Exception as error:
                finish(sender, error_response(error))
                self._slots.release()
            else:
                answer.handle.add_waker(lambda answer=answer: self._news.put(answer))  # type: ignore[misc]
        with self._slots:
            pass

    def finalize(self) -> None:
        """Shut down after the requests that have begun are answered."""
        self._scheduler.close()
        self._news.put(None)
        self._thread.join()

    def begin(self, sender: Any, tensors: Tensors) -> Answer:
        """Submit one request. Raises ValueError for one that is rejected."""
        request, split = read_request(tensors, self._served.voice, self._served.limits)
        self.check(request)
        cancelled = _ask_seldom(sender.is_cancelled)
        options = replace(request.options, cancelled=cancelled, deadline=self._served.limits.deadline())
        handle = self._scheduler.submit(split, request.seed, options, self.stream)
        return self.answer_type(sender, request, handle)

    def check(self, request: SpeechRequest) -> None:
        """Raise RequestError for what this model does not support."""
        return

    def _send(self) -> None:
        while (answer := self._news.get()) is not None:
            if answer.is_ended:
                continue
            try:
                answer.send_news()
            except Exception:  # a response that cannot be sent must not end the others
                traceback.print_exc(file=sys.stderr)
                answer.handle.cancel()
                answer.is_ended = True
            if answer.is_ended:
                self._slots.release()


def _ask_seldom(is_cancelled: Callable[[], bool]) -> Callable[[], bool]:
    """The same function, asked at most every CANCEL_POLL_SECONDS: it takes a round trip to the server."""
    last = 0.0
    answer = False

    def ask() -> bool:
        nonlocal last, answer
        now = time.monotonic()
        if now - last >= CANCEL_POLL_SECONDS:
            last, answer = now, is_cancelled()
        return answer

    return ask
