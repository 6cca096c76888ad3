"""Voices while the server runs: read again at SIGHUP, and closed while nobody uses them."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from ..runtime.errors import RequestError, one_line
from .bundles import Bundles, describe_failure
from .health import Health
from .state import Gateway
from .voices import Speaker, Voice, Voices

LOOKS = 10  # at unused voices, in the time after which one is closed
END_SECONDS = 1.0  # in which the threads of a speaker that nobody uses have ended


@asynccontextmanager
async def upkeep(
    gateway: Gateway, health: Health, bundles: Bundles | None, report: Callable[[str], None]
) -> AsyncIterator[None]:
    """Look after the voices until the block ends. report: called with lines for the operator."""
    async with anyio.create_task_group() as group:
        group.start_soon(_return_memory_of_ended, gateway)
        if bundles is not None:
            group.start_soon(_read_at_hangup, gateway, health, bundles, report)
        if gateway.options.idle_unload is not None:
            group.start_soon(_close_unused, gateway, gateway.options.idle_unload)
        yield
        group.cancel_scope.cancel()


async def read_again(gateway: Gateway, health: Health, bundles: Bundles) -> list[str]:
    """Replace the voices whose bundles have changed, add new ones, and drop those that are gone; returns lines for the
    operator. Requests that have begun end with the voice that they began with.
    """
    running = gateway.voices.voices
    found, problems = await asyncio.to_thread(bundles.read_again, running)
    voices: list[Voice] = []
    for voice in found:
        is_known = any(voice is each for each in running)
        failure = None if is_known or voice.scheduler is None else await health.check(voice)
        if failure is None:
            voices.append(voice)
            continue
        old = [each for each in running if each.origin == voice.origin]
        problems.append(describe_failure(voice.id, failure, old))
        voices += old
    try:
        gateway.voices = Voices(voices, gateway.voices.aliases, gateway.voices.created)
    except RequestError as error:
        return [*problems, f"{one_line(error)}; all voices stay as they were"]
    return [*problems, f"voices: {_describe(voices, running)}"]


def _describe(voices: Sequence[Voice], before: Sequence[Voice]) -> str:
    """The voices, and which of them are new."""
    return ", ".join(voice.id if any(voice is old for old in before) else f"{voice.id} (new)" for voice in voices)


async def _read_at_hangup(gateway: Gateway, health: Health, bundles: Bundles, report: Callable[[str], None]) -> None:
    """Read the bundles again at every SIGHUP, where there is such a signal and this is the thread that gets it."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return
    with anyio.open_signal_receiver(signal.SIGHUP) as hangups:
        async for _ in hangups:
            for line in await read_again(gateway, health, bundles):
                report(line)


async def _close_unused(gateway: Gateway, seconds: float) -> None:
    while True:
        await anyio.sleep(seconds / LOOKS)
        _close_idle(gateway.voices.voices, seconds)


def _close_idle(voices: Sequence[Voice], seconds: float) -> None:
    for voice in voices:
        if voice.is_idle(seconds):
            voice.close()


async def _return_memory_of_ended(gateway: Gateway) -> None:
    """Return memory once a speaker has ended: that of a voice that was closed or replaced, with its last request."""
    speakers: weakref.WeakSet[Speaker] = weakref.WeakSet()
    is_due = True  # for voices that were opened and closed at the start
    while True:
        known = len(speakers)
        await anyio.sleep(END_SECONDS)
        if is_due:
            await asyncio.to_thread(return_memory)
        is_due = len(speakers) < known  # next time, when their threads have ended too
        speakers.update(voice.scheduler for voice in gateway.voices.voices if voice.scheduler is not None)


def return_memory() -> None:
    """Give freed memory back to the system. glibc keeps that of a voice, which is in pieces, for the next one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
