"""A session of text that comes in parts: its settings, the sentences that wait, and the one that is being spoken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..runtime.options import SpeechOptions
from .encoding import Encoding, encode_segments
from .errors import GatewayError, as_gateway_error, invalid
from .request import parse_body, parse_format, parse_options, parse_seed, parse_voice, typed
from .sentences import SentenceBuffer
from .speaking import Speech, speak
from .state import Gateway
from .tasks import run_until_first
from .voices import Voice, Voices

SILENCE_SECONDS = 60.0  # without a message and without speech, after which a session is closed


@dataclass(frozen=True)
class SessionConfig:
    """The settings of a session, from its first message."""

    voice: Voice
    encoding: Encoding
    stream_audio: bool  # false: one whole file per sentence
    seed: int  # of every sentence
    options: SpeechOptions


def parse_config(fields: Mapping[str, Any], voices: Voices) -> SessionConfig:
    """Check every field. Raises GatewayError."""
    granularity = typed(fields, "split_granularity", str, "sentence")
    if granularity != "sentence":
        raise invalid("split_granularity", f"split_granularity: expected sentence, got {granularity!r}")
    audio_format, sample_rate = parse_format(fields, "wav")
    voice = parse_voice(fields, voices)
    return SessionConfig(
        voice,
        Encoding.choose(audio_format, sample_rate, voice.sampling_rate),
        typed(fields, "stream_audio", bool, False),
        parse_seed(fields),
        parse_options(fields),
    )


async def receive_text(websocket: WebSocket) -> str:
    """The next message. Raises WebSocketDisconnect, and GatewayError for a binary one."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    if message.get("text") is None:
        raise GatewayError(400, "invalid_json", "message: expected JSON in a text message, got a binary one")
    text: str = message["text"]
    return text


class SpeechSession:
    """Reads messages and speaks sentences at the same time, so that a cancellation is heard at once."""

    def __init__(self, websocket: WebSocket, gateway: Gateway, config: SessionConfig) -> None:
        self._websocket, self._gateway, self._config = websocket, gateway, config
        self._buffer = SentenceBuffer()
        self._buffered = 0  # characters in it, at most
        self._sentences: deque[str] = deque()  # that wait
        self._spoken: Speech | None = None  # now
        self._started = 0  # sentences
        self._cancellations = 0
        self._is_complete = False  # true after input.done
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Returns once everything is spoken after input.done. Raises WebSocketDisconnect, and what ends a session."""
        await run_until_first(self._read(), self._speak_all())

    async def _read(self) -> None:
        while True:
            try:
                self._take(parse_body(await self._receive(), "message"))
            except GatewayError as error:
                if error.code == "session_timeout":
                    raise
                await self._send({"type": "error", **error.details})

    async def _receive(self) -> str:
        while True:
            with anyio.move_on_after(SILENCE_SECONDS):
                return await receive_text(self._websocket)
            if self._spoken is None:
                raise GatewayError(408, "session_timeout", f"no message for {SILENCE_SECONDS:g} s; the session ends")

    def _take(self, fields: Mapping[str, Any]) -> None:
        """Do what a message asks for. Raises GatewayError."""
        kind = fields.get("type")
        if kind == "input.cancel":
            self._cancel()
        elif self._is_complete:
            raise invalid("type", f"type: expected only input.cancel after input.done, got {kind!r}")
        elif kind == "input.text":
            self._add(typed(fields, "text", str, ""))
        elif kind in ("input.flush", "input.done"):
            self._sentences += self._buffer.flush()
            self._buffered = 0
            self._is_complete = kind == "input.done"
        else:
            expected = "input.text, input.flush, input.cancel or input.done"
            raise invalid("type", f"type: expected {expected}, got {kind!r}")
        self._news.set()

    def _add(self, text: str) -> None:
        most = self._gateway.options.max_characters
        waiting = self._buffered + sum(map(len, self._sentences))
        if waiting + len(text) > most:
            message = (
                f"text: expected at most {most} characters that wait to be spoken, got {waiting + len(text)}; "
                "this part was not taken, send it again later"
            )
            raise invalid("text", message, "input_too_long")
        completed = self._buffer.add(text)
        self._sentences += completed
        self._buffered = len(text) if completed else self._buffered + len(text)

    def _cancel(self) -> None:
        """Drop what waits, and stop the sentence that is being spoken."""
        self._cancellations += 1
        self._buffer.flush()
        self._buffered = 0
        self._sentences.clear()
        if self._spoken is not None:
            self._spoken.cancel()

    async def _speak_all(self) -> None:
        while self._sentences or not self._is_complete:
            if self._sentences:
                await self._speak(self._sentences.popleft())
            else:
                self._news.clear()
                await self._news.wait()
        await self._send({"type": "session.done", "total_sentences": self._started})

    async def _speak(self, sentence: str) -> None:
        config, before = self._config, self._cancellations
        metrics, max_wait = self._gateway.metrics, self._gateway.options.max_wait
        self._spoken = spoken = await speak(config.voice, sentence, config.seed, config.options, metrics, max_wait)
        try:
            if self._cancellations == before:
                await self._send_sentence(spoken, sentence, before)
        finally:
            self._spoken = None
            spoken.cancel()  # without effect after the end

    async def _send_sentence(self, spoken: Speech, sentence: str, before: int) -> None:
        """before: cancellations so far; one more stops this sentence."""
        index, encoding, sent, failure = self._started, self._config.encoding, 0, None
        self._started += 1
        start = {"type": "audio.start", "sentence_index": index, "sentence_text": sentence}
        await self._send({**start, "format": encoding.audio_format, "sample_rate": encoding.rate})
        try:
            async with aclosing(self._encoded(spoken)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    if self._cancellations != before:
                        break
                    await self._websocket.send_bytes(chunk)
                    sent += len(chunk)
        except WebSocketDisconnect:
            raise
        except Exception as error:
            failure = error
        is_cancelled = self._cancellations != before
        done = {"type": "audio.done", "sentence_index": index, "total_bytes": sent}
        await self._send({**done, "error": failure is not None and not is_cancelled, "cancelled": is_cancelled})
        if failure is not None and not is_cancelled:
            raise as_gateway_error(failure) from failure

    async def _encoded(self, spoken: Speech) -> AsyncIterator[bytes]:
        """The bytes of a sentence: as they become available, or all at once."""
        config = self._config
        chunks = encode_segments(
            spoken.segments(), config.encoding, config.voice.sampling_rate, whole=not config.stream_audio
        )
        if config.stream_audio:
            async for chunk in chunks:
                yield chunk
        else:
            yield b"".join([chunk async for chunk in chunks])

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._websocket.send_json(message)
