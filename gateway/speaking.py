"""Speech of one request as an asynchronous stream of samples, and its way out of the scheduler when nobody listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from ..runtime.options import SpeechOptions, StreamOptions
from ..runtime.output.audio import Utterance
from ..runtime.output.trimming import NO_SPEECH
from ..runtime.pieces import silence
from ..runtime.quality import Quality, SpeechFault
from ..runtime.scheduling.admission import Ticket
from ..runtime.scheduling.handle import SpeechHandle
from ..text import Lexicon, MarkupError, TextError, describe_dropped
from .analysis import Described
from .errors import as_gateway_error, invalid
from .metrics import Metrics
from .playback import Playback
from .request import Settings
from .state import Gateway
from .voices import Speaker, Voice

logger = logging.getLogger("tacoglow.serve")
LONG_TEXT = 2_000  # characters; a shorter one is split in a few hundredths of a second
LEXICONS_MAX = 4  # that are kept ready: each may take 25 MB
# Of silence for a text such as an emoji, or "!" once its silence is trimmed; clients take no audio for an error.
NOTHING_SPOKEN_SECONDS = 0.1


@dataclass
class SpokenRequest:
    """One accepted text."""

    voice: Voice
    handle: SpeechHandle | None  # None: nothing to speak
    metrics: Metrics
    describe: Callable[[Voice, Utterance], Described] | None = None  # an utterance at its end; None: nobody asks
    samples: int = 0  # made so far
    described: list[Described] = field(default_factory=list)  # not taken yet
    tokens: int = 0  # of all utterances that have been spoken to their ends
    frames: int = 0  # of these
    is_heard: bool = False  # while it is made
    volume: float = 1.0
    begun: float = field(default_factory=time.monotonic)
    waited: float = 0.0  # seconds, for samples
    is_broken: bool = False  # the answer's body tells of an error
    _faults: list[SpeechFault] = field(default_factory=list)
    _is_cut_off: bool = False
    _is_awaited: bool = False  # since the latest samples
    _playback: Playback = field(init=False)
    notes: tuple[str, ...] = ()  # for people: what is spoken otherwise than asked

    def __post_init__(self) -> None:
        self._playback = Playback(self.voice.sampling_rate, self.volume, self.begun)

    @property
    def warning(self) -> str:
        """Describes what is not spoken, or not as asked; empty if all is. What Triton tells, and that nothing is left,
        is known at the end only."""
        of_text = () if self.handle is None else (describe_dropped(self.handle.dropped), *self.handle.remarks)
        return "; ".join(filter(None, (*self.notes, *of_text)))

    @property
    def quality(self) -> Quality | None:
        """The judgement on the whole speech, once it is complete; None if there is none, or if Triton has made it."""
        if self.handle is None or self.voice.facts.front_end is None:
            return None
        return Quality(tuple(self._faults))

    async def segments(self) -> AsyncIterator[NDArray[np.float32]]:
        """Yield samples as they are made. Raises the request's error; cancels the request if it is closed early."""
        if self.handle is None:
            yield silence(NOTHING_SPOKEN_SECONDS, self.voice.sampling_rate)
            return
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self.handle.add_waker(lambda: _wake(loop, news))
        try:
            while True:
                news.clear()
                progress = self.handle.poll()
                if progress.error is None:
                    await self._end(progress.utterances)
                for samples in progress.segments:
                    self._count(samples)
                    yield samples
                if progress.error is not None:
                    raise progress.error
                if progress.done:
                    break
                await self._wait(news)
        finally:
            self.handle.cancel()  # without effect after the end
            self.voice.last_used = time.monotonic()
        self._finish()
        if not self.samples:
            self.notes += (NO_SPEECH,)  # headers and events wait for the first samples
            logger.warning("%s: %s", self.voice.id, NO_SPEECH)
            yield silence(NOTHING_SPOKEN_SECONDS, self.voice.sampling_rate)

    def take_described(self) -> list[Described]:
        """Those that have been spoken to their ends since the last call."""
        taken, self.described = self.described, []
        return taken

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()

    async def _wait(self, news: asyncio.Event) -> None:
        started = time.monotonic()
        await news.wait()
        self.waited += time.monotonic() - started
        self._is_awaited = True

    def _count(self, samples: NDArray[np.float32]) -> None:
        if not len(samples):
            return
        now = self.voice.last_heard = time.monotonic()
        if self.samples == 0:
            self.metrics.first_audio.note(self.voice.id, now - self.begun)
        if self.is_heard:
            # A listener who reads slowly, and so does not wait, has what he has not read.
            if self._is_awaited and (stalled := self._playback.stalled(now)):
                self.metrics.underrun(self.voice.id, stalled)
            if (onset := self._playback.play(samples, now)) is not None:
                self.metrics.audible_onset.note(self.voice.id, onset)
        self._is_awaited = False
        self.samples += len(samples)

    async def _end(self, utterances: Sequence[Utterance]) -> None:
        """Take note of utterances that have been spoken to their ends, whose arrays are then no longer needed."""
        for utterance in utterances:
            if self.describe is not None:
                self.described.append(await anyio.to_thread.run_sync(self.describe, self.voice, utterance))
            self.tokens += len(utterance.token_ids)
            self.frames += len(utterance.gate)
            self._faults += utterance.quality.faults
            self._is_cut_off |= utterance.stop_reason == "frame_limit"

    def _finish(self) -> None:
        seconds = self.samples / self.voice.sampling_rate
        self.metrics.spoken(self.voice.id, seconds)
        if seconds:
            self.metrics.real_time_factor.note(self.voice.id, self.waited / seconds)
        if self._is_cut_off:
            self.metrics.frame_limit()
        if self.quality is not None and self.quality.faults:
            self.metrics.faults(self.quality)
            logger.warning("%s: %s", self.voice.id, self.quality)


async def speak(
    gateway: Gateway,
    text: str,
    settings: Settings,
    client: str,
    describe: Callable[[Voice, Utterance], Described] | None = None,
) -> SpokenRequest:
    """Have the voice's scheduler accept a text of a client.

    Raises GatewayError, also if the first audio would come later than `max_wait` seconds from now.
    """
    voice, options = settings.voice, settings.options
    if options.attention_window is None:
        options = replace(options, attention_window=gateway.options.attention_window)
    segments = StreamOptions() if settings.is_heard else voice.facts.whole
    handle, notes = None, [settings.warning]
    try:
        async with voice.speaker(gateway.openers) as scheduler:
            ticket = scheduler.admit(len(text), client, gateway.options.max_wait)
            submit = partial(_submit, scheduler, text, settings.seed, options, segments, settings.is_heard, ticket)
            handle = await _submitted(gateway, len(text), ticket, submit)
    except MarkupError as error:
        raise invalid("input", str(error)) from error
    except TextError as error:
        notes.append(str(error))
    except Exception as error:
        raise as_gateway_error(error) from error
    spoken = SpokenRequest(
        voice,
        handle,
        gateway.metrics,
        describe,
        is_heard=settings.is_heard,
        volume=options.volume,
        notes=tuple(notes),
    )
    if spoken.warning:
        logger.warning("%s: %s", voice.id, spoken.warning)
    return spoken


def _submit(
    scheduler: Speaker,
    text: str,
    seed: int,
    options: SpeechOptions,
    segments: StreamOptions,
    is_heard: bool,
    ticket: Ticket,
) -> SpeechHandle:
    if isinstance(options.lexicon, Lexicon):
        options = replace(options, lexicon=_ready(options.lexicon))
    return scheduler.submit(text, seed, options, segments, is_heard, ticket=ticket, keep_audio=False)


@lru_cache(LEXICONS_MAX)
def _ready(lexicon: Lexicon) -> Lexicon:
    """A copy, which keeps what it makes to find words. A session has one for all of its sentences; but if each session
    kept its own, idle ones would hold much memory."""
    return lexicon.copy()


async def _submitted(
    gateway: Gateway, characters: int, ticket: Ticket, submit: Callable[[], SpeechHandle]
) -> SpeechHandle:
    """Submit in a thread, because splitting a text takes a while: long ones one at a time, as they hold the
    interpreter from each other, and short ones beside them."""
    try:
        turn = await gateway.splitting.acquire() if characters > LONG_TEXT else False
    except asyncio.CancelledError:
        ticket.end()
        raise
    submitting = asyncio.ensure_future(asyncio.to_thread(submit))
    if turn:
        submitting.add_done_callback(lambda _: gateway.splitting.release())  # not when the client leaves
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        submitting.add_done_callback(_cancel_accepted)
        raise
    except Exception:
        ticket.end()
        raise


def _cancel_accepted(submitting: asyncio.Future[SpeechHandle]) -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().cancel()


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(news.set)
