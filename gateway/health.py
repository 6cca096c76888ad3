"""Health that speaks: a voice is well if it has been heard lately, or says something when it is asked."""

from __future__ import annotations

import asyncio
import logging
import time

from ..runtime.options import SpeechOptions, StreamOptions
from ..triton_server import PROBE_FRAMES
from .state import Gateway
from .voices import Voice

RECENT_SECONDS = 30.0  # since a voice's latest audio, in which it is not asked again
ANSWER_SECONDS = 20.0  # time limit for the speech of a voice that is asked
PROBE_TEXT = "a"

logger = logging.getLogger("tacoglow.serve")


class Health:
    """Has every voice speak once at the start, and again at a health check after it was silent for a while."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()

    async def start(self) -> bool:
        """Have every voice speak; returns False if one does not, which is logged and which `problem` then tells."""
        spoke = [await self._check(voice) for voice in self._gateway.voices.voices]
        self._gateway.is_starting = False
        return all(spoke)

    async def problem(self) -> str | None:
        """Why this server is not ready; None if it is."""
        if self._gateway.is_starting:
            return "starting"
        for voice in self._gateway.voices.voices:
            if not _is_recent(voice):
                async with self._lock:
                    if not _is_recent(voice) and not await self._check(voice):
                        return f"{voice.id}: does not speak"
        return None

    async def _check(self, voice: Voice) -> bool:
        started = time.monotonic()

        def ask() -> None:
            options = SpeechOptions(max_frames=PROBE_FRAMES, deadline=started + ANSWER_SECONDS)
            voice.scheduler.submit(PROBE_TEXT, 0, options, StreamOptions()).result(ANSWER_SECONDS)

        try:
            await asyncio.to_thread(ask)
        except Exception as error:
            if voice.last_heard is not None and voice.last_heard > started:
                return True  # too busy for the probe
            logger.error("%s does not speak", voice.id, exc_info=error)
            return False
        voice.last_heard = time.monotonic()
        return True


def _is_recent(voice: Voice) -> bool:
    return voice.last_heard is not None and time.monotonic() - voice.last_heard <= RECENT_SECONDS
