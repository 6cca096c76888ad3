"""Continuous batching: many requests at once with one voice, each speaking what it would speak alone.

One thread owns the voice. It decodes a few steps at a time, for the rows that are due first: a request joins the
running decoder between two such chunks and leaves it when its gate fires, and a row that is far ahead rests. The
vocoder's windows go to lanes meanwhile, the most urgent first: first segments of streams, then whoever's listener
would run dry soonest; a request for the whole is due when it could have been heard to its end. A client who has had
more than others waits for them, and a listener who does not read rests.

    with Scheduler(Synthesizer.load("voice/", threads=1)) as scheduler:
        handles = [scheduler.submit(text, seed) for seed, text in enumerate(texts)]
        audios = [handle.result() for handle in handles]
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

from ..decoder import PROFILES, ProfileName
from ..errors import Overloaded, RequestError
from ..noise import Noise
from ..options import SpeechOptions, StreamOptions
from ..pieces import Split, check_silence
from ..synthesizer import Synthesizer
from .admission import Admission, Ticket
from .handle import SpeechHandle
from .loop import Loop
from .metrics import MetricsCounter, SchedulerMetrics
from .speeches import Order, SpeechTask, WholeSpeech
from .streams import StreamSpeech, UnheardSpeech

MAX_BACKLOG = 420_000  # tokens: eight of the longest texts that a server takes, and some room


@dataclass(frozen=True)
class SchedulerLimits:
    """How much a scheduler takes on."""

    # Tokens of all requests that may wait to be spoken. A client may have as many of them as he leaves free, half of
    # them if he is alone; further requests are refused. An idle scheduler takes any.
    max_backlog: int = MAX_BACKLOG
    # latency: at most 8 rows decode together, and those who come join them soon. throughput: as many rows as the
    # bundle's batch limit, on a GPU in longer chunks, between two of which they join.
    profile: ProfileName = "latency"
    max_rows: int | None = None  # rows that decode together; None: the profile's, at most the bundle's batch limit
    lanes: int | None = None  # vocoder windows at once on a CPU; None: usable cores / the voice's threads

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise RequestError(f"profile: expected one of {', '.join(PROFILES)}, got {self.profile!r}")
        for name, value in (("max backlog", self.max_backlog), ("max rows", self.max_rows), ("lanes", self.lanes)):
            if value is not None and value < 1:
                raise RequestError(f"{name}: expected 1 or more, got {value}")


class Scheduler:
    """Speaks requests of many threads with one voice, which nothing else may use from then on.

    One that is dropped without `close` ends with its last handle; at the end of the program its requests are cancelled.
    """

    def __init__(self, voice: Synthesizer, limits: SchedulerLimits | None = None) -> None:
        limits = limits or SchedulerLimits()
        self.voice, self.limits = voice, limits
        batch, profile = voice.manifest.range("B").max, PROFILES[limits.profile]
        max_rows = min(limits.max_rows or profile.max_rows or batch, batch)
        self._metrics = MetricsCounter(max_rows)
        self._admission = Admission(limits.max_backlog)
        self._loop = Loop(voice, max_rows, profile, limits.lanes, self._metrics)
        # Whoever drops the last handle may be one of its threads, which cannot wait for the others.
        weakref.finalize(self, self._loop.stop).atexit = False

    def admit(self, tokens: int, client: str = "", max_wait: float = float("inf")) -> Ticket:
        """Take on a request before its text is split, which may take a while; `submit` it or `end` the ticket.

        tokens: of the text, or its characters. client: whose request it is. max_wait: seconds until its first audio.
        Raises Overloaded at once if too much waits, in all or of this client, and SchedulerClosed.
        """
        self._loop.check_accepts()
        try:
            return self._admission.admit(client, tokens, max_wait)
        except Overloaded:
            self._metrics.refused()
            raise

    def submit(
        self,
        text: str | Split,
        seed: int = 0,
        options: SpeechOptions | None = None,
        stream: StreamOptions | None = None,
        is_heard: bool = True,
        *,
        ticket: Ticket | None = None,
        client: str = "",
        keep_audio: bool = True,
    ) -> SpeechHandle:
        """Accept a text; may be called from any thread, and does not wait for its speech.

        text: as it is written, or as the voice's `split` returns it.
        stream: how it is cut into segments, which become available while it is spoken, and which rests while several
            seconds of them are not taken; None: the whole alone is wanted.
        is_heard: false: nobody hears segments before all are there, so that faulty utterances are decoded again.
        ticket: of `admit`; None: that is asked for this client. Clients share the voice in equal parts.
        keep_audio: false: the handle's `result` is not wanted, so that nothing is kept that has been taken.
        Raises TextError or RequestError for what `say` or `stream` would reject, Overloaded as `admit` does.
        """
        ticket = ticket or self.admit(_size(text), client)
        try:
            return self._submit(text, seed, options or SpeechOptions(), stream, is_heard, ticket, keep_audio)
        except BaseException:
            ticket.end()
            raise

    def _submit(
        self,
        text: str | Split,
        seed: int,
        options: SpeechOptions,
        stream: StreamOptions | None,
        is_heard: bool,
        ticket: Ticket,
        keep_audio: bool,
    ) -> SpeechHandle:
        if stream is not None and is_heard:
            options.check_stream()
        frames = None if stream is None else stream.resolve(self.voice.manifest)
        Noise(seed)  # rejects a seed out of range
        resolved = options.resolve(self.voice.manifest)
        split = text if isinstance(text, Split) else self.voice.split(text, options)
        check_silence(split.pieces)
        handle = SpeechHandle(self.voice.manifest.audio.sampling_rate, split.dropped, self._wake, split.remarks)
        resolved = replace(resolved, cancelled=_either(lambda: handle.done, options.cancelled))
        order = Order(self.voice, handle, split, seed, resolved, ticket, keep_audio)
        if frames is None:
            task: SpeechTask = WholeSpeech(order)
        else:
            task = StreamSpeech(order, frames) if is_heard else UnheardSpeech(order, frames)
        ticket.resize(order.tokens)
        if stream is not None and is_heard:
            ticket.await_audio()
        self._loop.add(task)
        return handle

    def metrics(self) -> SchedulerMetrics:
        """Counters since the start and the present state."""
        return self._metrics.snapshot()

    def expected_wait(self) -> float:
        """Seconds until it would be a new stream's turn, as an estimate from those that wait for their first audio."""
        return self._admission.expected_wait()

    def close(self, finish: bool = True) -> None:
        """Accept no further request, and return once all have ended. finish: false: cancel them."""
        self._loop.close(finish)

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finish=error is None)

    def _wake(self) -> None:
        self._loop.wake()


def _size(text: str | Split) -> int:
    return len(text) if isinstance(text, str) else sum(len(piece.ids) for piece in text.pieces)


def _either(first: Callable[[], bool], second: Callable[[], bool] | None) -> Callable[[], bool]:
    return first if second is None else lambda: first() or second()
