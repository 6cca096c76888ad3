"""A WebSocket session of text that comes in parts: its settings, its messages, and its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..text.errors import quote
from .connections import PEER
from .encoding import FormatName, encode_segments
from .errors import GatewayError, as_gateway_error, invalid
from .events import faults_of
from .request import Settings, SettingsBody, convert, decode_object
from .sentence_queue import Sentence, SentenceQueue, until_one_ends
from .speaking import SpokenRequest, speak
from .state import Gateway, client_of
from .voices import Voices


class ConfigBody(SettingsBody, kw_only=True):
    """session.config."""

    response_format: FormatName = "wav"
    split_granularity: Literal["sentence"] = "sentence"
    stream_audio: bool = False


class TextBody(Struct):
    """input.text."""

    text: str = ""


@dataclass(frozen=True)
class SessionConfig:
    """The settings of a session, from its first message."""

    settings: Settings  # the seed is that of every sentence
    stream_audio: bool  # false: one whole file per sentence


class Done:
    """The mark after the last sentence."""


def parse_config(message: str, voices: Voices) -> SessionConfig:
    """Read the first message. Raises GatewayError."""
    fields = decode_object(message, "message")
    if fields.get("type") != "session.config":
        raise invalid("type", f"type: expected session.config in the first message, got {quote(fields.get('type'))}")
    body = convert(fields, ConfigBody)
    return SessionConfig(body.resolve(voices, "stream_audio" if body.stream_audio else None), body.stream_audio)


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
        self._client = client_of(websocket.client)
        self._queue = SentenceQueue[Done](gateway.options.max_characters, gateway.read)
        self._started = 0  # sentences
        self._is_complete = False  # true after input.done

    async def run(self) -> None:
        """Returns once everything is spoken after input.done. Raises WebSocketDisconnect, and what ends a session."""
        await until_one_ends(self._read, self._speak_all)

    async def _read(self) -> None:
        while True:
            try:
                text = await self._queue.receive(partial(receive_text, self._websocket), "message")
                await self._take(await self._gateway.read(len(text), partial(decode_object, text, "message")))
            except GatewayError as error:
                if error.code == "session_timeout":
                    raise
                await self._send({"type": "error", **error.details})

    async def _take(self, fields: Mapping[str, Any]) -> None:
        """Do what a message asks for. Raises GatewayError."""
        kind = fields.get("type")
        if kind == "input.cancel":
            self._queue.cancel()
        elif self._is_complete:
            raise invalid("type", f"type: expected only input.cancel after input.done, got {quote(kind)}")
        elif kind == "input.text":
            await self._queue.take(convert(fields, TextBody).text)
        elif kind == "input.flush":
            await self._queue.flush()
        elif kind == "input.done":
            await self._queue.flush()
            self._queue.mark(Done())
            self._is_complete = True
        else:
            expected = "input.text, input.flush, input.cancel or input.done"
            raise invalid("type", f"type: expected {expected}, got {quote(kind)}")

    async def _speak_all(self) -> None:
        while isinstance(sentence := await self._queue.next(), Sentence):
            await self._speak(sentence)
        await self._send({"type": "session.done", "total_sentences": self._started})

    async def _speak(self, sentence: Sentence) -> None:
        self._gateway.check_accepts(self._client)
        with self._gateway.answering(self._client), self._gateway.connections.busy(self._websocket.scope[PEER]):
            spoken = await speak(self._gateway, sentence.text, self._config.settings, self._client)
            sentence.begin(spoken)
            try:
                if not sentence.is_cancelled:
                    await self._send_sentence(spoken, sentence)
            finally:
                spoken.cancel()  # without effect after the end

    async def _send_sentence(self, spoken: SpokenRequest, sentence: Sentence) -> None:
        index, encoding, sent = self._started, self._config.settings.encoding, 0
        failure: Exception | None = None
        self._started += 1
        start = {"type": "audio.start", "sentence_index": index, "sentence_text": sentence.text}
        if spoken.warning:
            start["warning"] = spoken.warning
        await self._send({**start, "format": encoding.audio_format, "sample_rate": encoding.rate})
        try:
            async with aclosing(self._encoded(spoken)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    if sentence.is_cancelled:
                        break
                    await self._websocket.send_bytes(chunk)
                    sent += len(chunk)
        except WebSocketDisconnect:
            raise
        except Exception as error:
            failure = None if sentence.is_cancelled else error
        done: dict[str, Any] = {"type": "audio.done", "sentence_index": index, "total_bytes": sent}
        if failure is None and not sentence.is_cancelled:
            done |= faults_of(spoken.quality)
        await self._send({**done, "error": failure is not None, "cancelled": sentence.is_cancelled})
        if failure is not None:
            raise as_gateway_error(failure) from failure

    async def _encoded(self, spoken: SpokenRequest) -> AsyncIterator[bytes]:
        """The bytes of a sentence: as they become available, or all at once."""
        settings, is_whole = self._config.settings, not self._config.stream_audio
        chunks = encode_segments(spoken.segments(), settings.encoding, settings.voice.sampling_rate, is_whole)
        if is_whole:
            yield b"".join([chunk async for chunk in chunks])
        else:
            async for chunk in chunks:
                yield chunk

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._websocket.send_json(message)
