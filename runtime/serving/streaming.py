"""The decoupled model: a text is answered with chunks of speech as they are made, several streams in turn."""

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
from .python_backend import ServedVoice, finish, read_tensors, refuse, respond


class StreamingModel:
    """Triton calls these by name. One thread loads the voice and does all the speaking: a Synthesizer serves one."""

    def initialize(self, arguments: dict[str, str]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._served = self._thread.submit(ServedVoice.load, arguments).result()
        self._turns = Turns(self._served.streams)
        self._thread.submit(self._turns.run)

    def execute(self, requests: Sequence[Any]) -> None:
        """Returns when this instance can take another stream: until then Triton's queue holds what comes."""
        for request in requests:
            self._turns.admit(self._stream(request.get_response_sender(), read_tensors(request)))
        self._turns.wait_for_slot()

    def finalize(self) -> None:
        """Streams that have begun are spoken to their end."""
        self._turns.close()
        self._thread.shutdown()

    def _stream(self, sender: Any, tensors: Any) -> Iterator[None]:
        """One stream: every step sends a chunk."""
        try:
            asked, warning = read_request(tensors, self._served.voice, self._served.max_characters)
            if asked.encoding == "wav":
                raise RequestError("encoding: wav is a whole file; a stream takes int16 or float32")
            options = replace(asked.options, cancelled=sender.is_cancelled)  # asked at every chunk
            stream = self._served.voice.stream(asked.text, asked.seed, options=options)
            for samples in stream:
                sender.send(respond(Response(samples, stream.sampling_rate, "").tensors(asked.encoding)))
                yield
            reason = next((reason for reason in stream.stop_reasons if reason != "gate"), "gate")
            last = Response(np.zeros(0, np.float32), stream.sampling_rate, reason, warning)
            finish(sender, respond(last.tensors(asked.encoding)))
        except Cancelled:
            finish(sender)
        except Exception as error:
            finish(sender, refuse(error))


class Turns:
    """Iterators advanced a step each in turn, up to a number of them at once; a new one has the next turn."""

    def __init__(self, slots: int) -> None:
        self._slots = threading.Semaphore(slots)
        self._arrivals: SimpleQueue[Iterator[None] | None] = SimpleQueue()

    def admit(self, steps: Iterator[None]) -> None:
        """Blocks while all slots are taken."""
        self._slots.acquire()
        self._arrivals.put(steps)

    def wait_for_slot(self) -> None:
        with self._slots:
            pass

    def close(self) -> None:
        """Let `run` return when the last iterator has ended."""
        self._arrivals.put(None)

    def run(self) -> None:
        active: deque[Iterator[None]] = deque()
        is_open = True
        while active or is_open:
            if is_open and not (active and self._arrivals.empty()):
                arrival = self._arrivals.get()
                if arrival is None:
                    is_open = False
                else:
                    active.appendleft(arrival)
            if active:
                self._turn(active)

    def _turn(self, active: deque[Iterator[None]]) -> None:
        steps = active.popleft()
        try:
            next(steps)
            active.append(steps)
        except StopIteration:
            self._slots.release()
        except Exception:  # one iterator's failure must not end the others
            traceback.print_exc(file=sys.stderr)
            self._slots.release()
