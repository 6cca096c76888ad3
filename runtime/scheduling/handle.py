"""The caller's end of a request: segments and the result, as they become available."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import Cancelled, RequestError, SchedulerClosed
from ..output.audio import Audio, Utterance


@dataclass(frozen=True)
class Progress:
    """News since the last `poll`."""

    segments: list[NDArray[np.float32]]
    utterances: list[Utterance]  # whose last segment is among these or was among earlier ones
    done: bool  # no more will come
    error: Exception | None  # why the request failed, once done


class SpeechHandle:
    """Speech that a scheduler has accepted. Every method may be called from any thread."""

    def __init__(
        self, sampling_rate: int, dropped: Sequence[str], on_cancel: Callable[[], None], remarks: Sequence[str] = ()
    ) -> None:
        self.sampling_rate = sampling_rate  # Hz
        self.dropped = tuple(dropped)  # what the voice has no symbol for, as in Audio
        self.remarks = tuple(remarks)  # for people: what else is not spoken as the text asks
        self._on_cancel = on_cancel
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._segments: deque[NDArray[np.float32]] = deque()  # not taken yet
        self._utterances: list[Utterance] = []  # not taken yet
        self._unread = 0  # samples of these segments
        self._is_awaited = False  # as a whole: nobody may ever take the segments
        self._audio: Audio | None = None
        self._is_complete = False
        self._error: Exception | None = None
        self._wakers: list[Callable[[], None]] = []

    @property
    def done(self) -> bool:
        """True once no more segments will come: the speech is complete, has failed or was cancelled."""
        return self._is_complete or self._error is not None

    @property
    def error(self) -> Exception | None:
        """Why the request has failed or was cancelled; None if it has not."""
        return self._error

    @property
    def unread_seconds(self) -> float:
        """Seconds of speech that nobody has taken yet; 0 if somebody waits for the whole."""
        return 0.0 if self._is_awaited else self._unread / self.sampling_rate

    def segments(self) -> Iterator[NDArray[np.float32]]:
        """Yield float32 samples as they become available; of a request for the whole, one array.

        Raises the error that ended the request. Abandoning the iterator does not cancel the request.
        """
        while True:
            self._check_process()
            with self._condition:
                self._condition.wait_for(lambda: self._segments or self.done)
                if not self._segments:
                    if self._error is not None:
                        raise self._error
                    return
                samples = self._segments.popleft()
                self._unread -= len(samples)
            yield samples

    def result(self, timeout: float | None = None) -> Audio:
        """Wait for the complete speech. Raises the error that ended the request, TimeoutError, or RequestError if the
        request was submitted with `keep_audio=False`."""
        self._check_process()
        with self._condition:
            self._is_awaited = True
            if not self._condition.wait_for(lambda: self.done, timeout):
                raise TimeoutError(f"the speech is not complete after {timeout:g} s; wait longer, or cancel it")
            if self._error is not None:
                raise self._error
            if self._audio is None:
                raise RequestError("result: this request keeps no audio; take its segments as they come")
            return self._audio

    def cancel(self) -> None:
        """Abandon the request; returns at once. Does nothing once it has ended, or in a forked process."""
        if os.getpid() != self._process:  # there, the lock may be held for ever
            return
        self.fail(Cancelled("the request was cancelled"))
        self._on_cancel()

    def _check_process(self) -> None:
        """Raises SchedulerClosed in a forked process, where nobody speaks."""
        if os.getpid() != self._process:
            raise SchedulerClosed(f"this request is spoken in process {self._process}, from which this one was forked")

    def poll(self) -> Progress:
        """Take what is new, without waiting."""
        self._check_process()
        with self._condition:
            progress = Progress(list(self._segments), self._utterances, self.done, self._error)
            self._segments.clear()
            self._unread = 0
            self._utterances = []
        return progress

    def add_waker(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `poll` has something new, at once if it already has. It must not block, and one that
        raises ends the request; it is called in a thread of the scheduler, or in the one that cancels."""
        self._check_process()
        with self._condition:
            self._wakers.append(callback)
            is_new = bool(self._segments) or self.done
        if is_new:
            callback()

    def put(self, segments: Sequence[NDArray[np.float32]], utterances: Sequence[Utterance] = ()) -> None:
        """Hand over segments, and utterances that they complete; for the scheduler."""
        self._change(segments, utterances)

    def finish(
        self, segments: Sequence[NDArray[np.float32]], utterances: Sequence[Utterance], audio: Audio | None
    ) -> None:
        """Hand over the last segments and utterances, and the complete speech if it was kept; for the scheduler."""
        self._change(segments, utterances, audio, is_complete=True)

    def fail(self, error: BaseException) -> None:
        """End the request with an error, unless it has ended. What would end a thread, as SystemExit does, cancels."""
        if not isinstance(error, Exception):
            error = Cancelled(f"the request was cancelled by {type(error).__name__}")
        self._change((), (), error=error)

    def _change(
        self,
        segments: Sequence[NDArray[np.float32]],
        utterances: Sequence[Utterance],
        audio: Audio | None = None,
        error: Exception | None = None,
        is_complete: bool = False,
    ) -> None:
        with self._condition:
            if self.done:
                return
            self._segments.extend(segments)
            self._utterances.extend(utterances)
            self._unread += sum(map(len, segments))
            self._audio, self._is_complete, self._error = audio, is_complete, error
            if error is not None:
                self._segments.clear()
            wakers = list(self._wakers)
            self._condition.notify_all()
        for wake in wakers:
            try:
                wake()
            except BaseException as raised:  # a caller's own function may raise anything
                self.fail(raised)
