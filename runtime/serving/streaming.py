"""The decoupled model: one text in, segments of speech out while the rest is synthesized; streams take turns."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..errors import Cancelled, RequestError
from .contract import Response, read_request
from .python_backend import ServedVoice, error_response, exit_with_parent, finish, read_tensors, speech_response


class StreamingModel:
    """Triton's model interface. One thread loads the voice and runs all streams: a Synthesizer is not thread-safe."""

    def initialize(self, arguments: dict[str, str]) -> None:
        exit_with_parent()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._served = self._thread.submit(ServedVoice.load, arguments).result()
        self._round_robin = RoundRobin(self._served.streams)
        self._thread.submit(self._round_robin.run)

    def execute(self, requests: Sequence[Any]) -> None:
        """Start streams; returns once a slot is free. Until then, further requests wait in Triton's queue."""
        for request in requests:
            self._round_robin.admit(self._stream(request.get_response_sender(), read_tensors(request)))
        self._round_robin.wait_for_slot()

    def finalize(self) -> None:
        """Shut down after the streams that have begun are complete."""
        self._round_robin.close()
        self._thread.shutdown()

    def _stream(self, sender: Any, tensors: Any) -> Iterator[None]:
        """Synthesize one stream: every item of the iterator is one segment sent."""
        try:
            request, warning = read_request(tensors, self._served.voice, self._served.limits)
            if request.encoding == "wav":
                raise RequestError("encoding: a stream supports int16 and float32, got wav")
            deadline = self._served.limits.deadline()
            options = replace(request.options, cancelled=sender.is_cancelled, deadline=deadline)
            stream = self._served.voice.stream(request.text, request.seed, options=options)
            for samples in stream:
                sender.send(speech_response(Response(samples, stream.sampling_rate, "").tensors(request.encoding)))
                yield
            reason = next((reason for reason in stream.stop_reasons if reason != "gate"), "gate")
            last = Response(np.zeros(0, np.float32), stream.sampling_rate, reason, warning)
            finish(sender, speech_response(last.tensors(request.encoding)))
        except Cancelled:
            finish(sender)
        except Exception as error:
            finish(sender, error_response(error))


class RoundRobin:
    """Advances iterators in turn, one item each; at most `slots` at a time, and a new one gets the next turn."""

    def __init__(self, slots: int) -> None:
        self._slots = threading.Semaphore(slots)
        self._new: SimpleQueue[Iterator[None] | None] = SimpleQueue()  # None: closed

    def admit(self, stream: Iterator[None]) -> None:
        """Add an iterator; blocks while all slots are taken."""
        self._slots.acquire()
        self._new.put(stream)

    def wait_for_slot(self) -> None:
        """Block while all slots are taken."""
        with self._slots:
            pass

    def close(self) -> None:
        """Make `run` return once all iterators are exhausted; none may be admitted afterwards."""
        self._new.put(None)

    def run(self) -> None:
        """Advance the iterators until closed and all are exhausted."""
        active: deque[Iterator[None]] = deque()
        is_open = True
        while active or is_open:
            if is_open and not (active and self._new.empty()):
                new = self._new.get()  # blocks only while nothing is active
                if new is None:
                    is_open = False
                else:
                    active.appendleft(new)
            if active:
                self._advance_next(active)

    def _advance_next(self, active: deque[Iterator[None]]) -> None:
        stream = active.popleft()
        try:
            next(stream)
            active.append(stream)
        except StopIteration:
            self._slots.release()
        except Exception:  # the failure of one iterator must not end the others
            traceback.print_exc(file=sys.stderr)
            self._slots.release()
