"""The Wyoming protocol, as Home Assistant speaks it: events in, speech out, over a plain connection."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import anyio
from msgspec import Struct
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.ping import Pong
from wyoming.tts import SynthesizeStopped

from ..runtime.options import SpeechOptions
from ..runtime.output.wav_writer import encode
from ..runtime.pieces import pause_after, silence
from .connections import peer_of
from .encoding import Encoding
from .errors import as_gateway_error
from .request import Settings, convert
from .sentence_queue import Sentence, SentenceQueue, until_one_ends
from .speaking import speak
from .state import GRACE_SECONDS, Gateway, client_of
from .voices import Voice
from .wyoming_events import MAX_LINE, choose_voice, describe, read_event

BACKLOG = 16  # connections that are taken at once
logger = logging.getLogger("tacoglow.serve")


@dataclass(frozen=True)
class Begin:
    """A text begins."""

    voice: Voice


@dataclass(frozen=True)
class End:
    """The text is complete."""

    is_stream: bool  # it came in parts


class SynthesizeData(Struct):
    """Data of the events that bring a text or choose its voice."""

    text: str = ""
    voice: dict[str, Any] | None = None


class WyomingSession:
    """One connection. Events are read while a text is spoken, so that a client that leaves is noticed at once."""

    def __init__(self, gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway, self._reader, self._writer = gateway, reader, writer
        self._writing = asyncio.Lock()
        self._peer = peer_of(writer.transport)
        self._client = client_of(self._peer)
        self._queue = SentenceQueue[Begin | End](gateway.options.max_characters, gateway.read)
        self._is_stream = False  # between synthesize-start and synthesize-stop

    async def run(self) -> None:
        """Returns once the client has left, or after an error that it has been told."""
        try:
            await until_one_ends(self._read_all, self._speak_all)
        except OSError:
            pass  # the client has left
        except Exception as error:
            refusal = as_gateway_error(error)
            with suppress(OSError):
                await self._write(Error(refusal.message, refusal.code).event())
        finally:
            self._writer.close()

    async def finish(self) -> None:
        """Returns once all received text is spoken."""
        while not self._queue.is_idle:
            await asyncio.sleep(0.05)

    async def _read_all(self) -> None:
        while await self._queue.receive(self._read, "event"):
            pass

    async def _read(self) -> bool:
        """Read an event and do what it asks for; returns False at the end of the connection."""
        event = await read_event(self._reader, self._gateway)
        if event is not None:
            await self._take(event)
        return event is not None

    async def _take(self, event: Event) -> None:
        """Do what an event asks for; those of other services are ignored."""
        if event.type == "describe":
            await self._write(describe(self._gateway.voices))
        elif event.type == "ping":
            await self._write(Pong(event.data.get("text")).event())
        elif event.type == "synthesize-start":
            self._begin(convert(event.data, SynthesizeData))
            self._is_stream = True
        elif event.type == "synthesize" and not self._is_stream:  # within a stream it repeats the whole text
            data = convert(event.data, SynthesizeData)
            self._queue.check_room(data.text)
            self._begin(data)
            self._queue.take_whole(data.text)
            self._queue.mark(End(is_stream=False))
        elif event.type == "synthesize-chunk" and self._is_stream:
            await self._queue.take(convert(event.data, SynthesizeData).text)
        elif event.type == "synthesize-stop" and self._is_stream:
            await self._queue.flush()
            self._queue.mark(End(is_stream=True))
            self._is_stream = False

    def _begin(self, data: SynthesizeData) -> None:
        self._gateway.check_accepts(self._client)
        voice, warning = choose_voice(self._gateway.voices, data.voice or {})
        if warning is not None:
            logger.warning("wyoming: %s", warning)
        self._queue.mark(Begin(voice))

    async def _speak_all(self) -> None:
        voice, previous = self._gateway.voices.default, ""
        while True:
            item = await self._queue.next()
            if isinstance(item, Begin):
                voice, previous = item.voice, ""
                await self._write(AudioStart(rate=voice.sampling_rate, width=2, channels=1).event())
            elif isinstance(item, Sentence):
                await self._speak(voice, item, previous)
                previous = item.text
            else:
                await self._write(AudioStop().event())
                if item.is_stream:
                    await self._write(SynthesizeStopped().event())

    async def _speak(self, voice: Voice, sentence: Sentence, previous: str) -> None:
        """Speak a text, after the pause that follows the one before."""
        rate, gateway = voice.sampling_rate, self._gateway
        settings = Settings(voice, Encoding("pcm", rate), 0, SpeechOptions())
        pause = silence(pause_after(previous), rate) if previous else None
        gateway.check_accepts(self._client)
        with gateway.answering(self._client), gateway.connections.busy(self._peer):
            spoken = await speak(gateway, sentence.text, settings, self._client)
            async with aclosing(cast(Any, spoken.segments())) as segments:  # cancels it if this is cancelled
                async for samples in segments:
                    for part in (samples,) if pause is None else (pause, samples):
                        audio = encode(part, "int16")
                        await self._write(AudioChunk(rate=rate, width=2, channels=1, audio=audio).event())
                    pause = None

    async def _write(self, event: Event) -> None:
        async with self._writing:
            await async_write_event(event, self._writer)


@asynccontextmanager
async def serving_wyoming(gateway: Gateway, listening: socket.socket) -> AsyncIterator[None]:
    """Accept connections; at the end, texts that have come are spoken, for up to a minute."""
    sessions: dict[asyncio.Task[None], WyomingSession] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway.connections.opened(writer.transport)
        session = WyomingSession(gateway, reader, writer)
        task = asyncio.ensure_future(session.run())
        sessions[task] = session
        task.add_done_callback(sessions.pop)
        task.add_done_callback(lambda _: gateway.connections.closed(writer.transport))

    server = await asyncio.start_server(accept, sock=listening, limit=MAX_LINE, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        with anyio.move_on_after(GRACE_SECONDS):
            await asyncio.gather(*(session.finish() for session in list(sessions.values())))
        for task in list(sessions):
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
