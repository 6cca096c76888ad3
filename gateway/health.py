"""Health that speaks: a voice is well if it has been heard lately, or says something when it is asked."""

from __future__ import annotations

import asyncio
import logging
import time

from ..runtime.errors import BackendError, DeadlineExceeded, one_line
from ..runtime.options import SpeechOptions, StreamOptions
from ..triton_server import PROBE_FRAMES
from .errors import GatewayError
from .state import Gateway
from .voices import Speaker, Voice

RECENT_SECONDS = 30.0  # since a voice's latest audio, in which it is not asked again
ANSWER_SECONDS = 20.0  # time limit for the speech of a voice that is asked

Failures = dict[str, Exception]  # voice -> why it does not speak

logger = logging.getLogger("tacoglow.serve")


class Health:
    """Has every voice speak once at the start, and again at a health check after it was silent for a while."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()

    async def start(self) -> Failures:
        """Have every voice speak; returns those that do not, which `problem` then tells."""
        failures = {}
        for voice in self._gateway.voices.voices:
            if voice.scheduler is not None and (error := await self.check(voice)) is not None:
                failures[voice.id] = error
        self._gateway.is_starting = False
        return failures

    async def problem(self) -> str | None:
        """Why this server is not ready; None if it is."""
        if self._gateway.is_starting:
            return "starting"
        for voice in self._gateway.voices.voices:
            if voice.failed is not None:  # nothing else may open it again: whoever asks may send no requests until then
                try:
                    async with voice.speaker(self._gateway.openers):
                        pass
                except GatewayError as error:
                    return error.message
            if not _is_recent(voice):
                async with self._lock:
                    if not _is_recent(voice) and await self.check(voice) is not None:
                        return f"{voice.id}: does not speak"
        return None

    async def check(self, voice: Voice) -> Exception | None:
        """Have an open voice speak; returns why it does not, which is logged."""
        started, scheduler = time.monotonic(), voice.scheduler
        assert scheduler is not None

        try:
            await asyncio.to_thread(probe, scheduler, voice.facts.letter)
        except Exception as error:
            if voice.last_heard is not None and voice.last_heard > started:
                return None  # too busy for the probe
            known = isinstance(error, (BackendError, GatewayError, TimeoutError, DeadlineExceeded))
            logger.error("%s does not speak: %s", voice.id, one_line(error), exc_info=None if known else error)
            return error
        voice.last_heard = time.monotonic()
        return None


def probe(speaker: Speaker, text: str) -> None:
    """Have it say a little. Raises what speaking raises."""
    options = SpeechOptions(max_frames=PROBE_FRAMES, deadline=time.monotonic() + ANSWER_SECONDS)
    handle = speaker.submit(text, 0, options, StreamOptions())
    try:
        handle.result(ANSWER_SECONDS)
    finally:
        handle.cancel()  # without effect after the end


def _is_recent(voice: Voice) -> bool:
    """True if it was heard lately, or is closed, so that nobody waits for it."""
    if voice.scheduler is None:
        return True
    return voice.last_heard is not None and time.monotonic() - voice.last_heard <= RECENT_SECONDS
