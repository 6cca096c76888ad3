"""Speaks a request and streams the body while it is made: headers wait for the first bytes; a disconnect cancels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import cast

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..runtime.errors import escape_control
from .analysis import describe
from .cache import Entry
from .encoding import encode_segments
from .entity_tag import entity_tag, is_known
from .errors import GatewayError, as_gateway_error
from .request import ParsedRequest
from .speaking import SpokenRequest, speak
from .state import Gateway, client_of

# Makes a body of the encoded audio.
Writer = Callable[[SpokenRequest, AsyncIterator[bytes], ParsedRequest], AsyncIterator[bytes]]
MESSAGE_MAX = 1000  # bytes of a header for people
TOLD = ("x-tacoglow-warning", "x-tacoglow-quality")


class SpokenResponse(Response):
    """The answer to a valid request. An error before the first bytes has its own status; a later one breaks the
    connection, so that no client takes a part for the whole."""

    def __init__(
        self, gateway: Gateway, wanted: ParsedRequest, media_type: str | None = None, write: Writer | None = None
    ) -> None:
        """write: makes a body of this type; None: the body is the encoded audio."""
        self._gateway, self._wanted, self._media_type, self._write = gateway, wanted, media_type, write
        settings = wanted.settings
        headers = {
            "x-accel-buffering": "no",
            "x-tacoglow-voice": _header(settings.voice.id),
            "x-tacoglow-sample-rate": str(settings.encoding.rate),
            "x-tacoglow-seed": str(settings.seed),
            "x-tacoglow-speed": f"{settings.options.rate:g}",
        }
        if wanted.ignored:
            headers["x-tacoglow-ignored"] = ", ".join(wanted.ignored[:32])
        if write is None:
            headers["content-disposition"] = f'inline; filename="{settings.encoding.file_name}"'
        super().__init__(None, 200, headers, media_type or settings.encoding.content_type)
        del self.headers["content-length"]
        self._set_tag()
        self.headers["cache-control"] = "private, no-cache" if self._tag else "no-store"  # no-cache: always asked for
        self._cache = gateway.options.cache if self._tag else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: GatewayError | None = None
        if self._tag and is_known(self._tag, Headers(scope=scope)):
            message = "If-None-Match: the speech is the one that the client has"
            raise GatewayError(412, "precondition_failed", message, headers={"etag": self._tag})
        scope["tacoglow.format"] = self._wanted.settings.encoding.audio_format  # for the counters
        self._client = client_of(scope["client"])
        with self._gateway.answering(self._client):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_left, receive, group.cancel_scope)
                failure = await self._answer(send)
                group.cancel_scope.cancel()
        if failure is not None:  # raised here, because a task group would wrap it
            raise failure

    async def _answer(self, send: Send) -> GatewayError | None:
        """Send the speech, from the cache if it is there; returns the error that ended it."""
        try:
            if (entry := await self._find()) is not None:
                await self._send_entry(entry, send)
                return None
            async with aclosing(cast(AsyncGenerator[bytes, None], await self._body())) as body:
                await (self._send_stream(body, send) if self._wanted.stream else self._send_whole(body, send))
        except Exception as error:
            return as_gateway_error(error)
        return None

    def _set_tag(self) -> None:
        """Give the speech its entity tag, if it has one."""
        self._tag = entity_tag(self._wanted, self._media_type, self._gateway.options.attention_window)
        if self._tag:
            self.headers["etag"] = self._tag

    async def _find(self) -> Entry | None:
        """The cache's answer to this request, if there is one."""
        if self._cache is None:
            return None
        entry = await self._cache.find(self._tag)
        self._gateway.metrics.looked_up(self._wanted.settings.voice.id, entry is not None)
        return entry

    async def _send_entry(self, entry: Entry, send: Send) -> None:
        with entry.file:
            self.headers.update({**entry.headers, "content-length": str(entry.size)})
            await self._start(send)
            async for chunk in entry.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _body(self) -> AsyncIterator[bytes]:
        """Have the text accepted; returns the bytes to come. Raises GatewayError."""
        wanted, settings = self._wanted, self._wanted.settings
        self._spoken = spoken = await speak(
            self._gateway,
            wanted.text,
            settings,
            self._client,
            partial(describe, wanted) if wanted.timestamps or wanted.analysis else None,
        )
        self._set_tag()  # again: a closed voice may have been opened with another backend
        rate = settings.voice.sampling_rate
        chunks = encode_segments(spoken.segments(), settings.encoding, rate, whole=not wanted.stream)
        return chunks if self._write is None else self._write(spoken, chunks, wanted)

    async def _send_stream(self, body: AsyncIterator[bytes], send: Send) -> None:
        is_started, writer = False, None
        try:
            async for chunk in body:
                if not is_started:
                    self._add_warning()
                    await self._start(send)
                    is_started = True
                    writer = None if self._cache is None else self._cache.begin(self._tag, self._told())
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if writer is not None:
                    await writer.write(chunk)
            await send({"type": "http.response.body", "body": b""})
            if writer is not None and not self._spoken.is_broken:
                await writer.commit()
        finally:
            if writer is not None:
                await writer.discard()

    async def _send_whole(self, body: AsyncIterator[bytes], send: Send) -> None:
        content = b"".join([chunk async for chunk in body])
        self.headers["content-length"] = str(len(content))
        self._add_warning()
        if (quality := self._spoken.quality) is not None:
            self.headers["x-tacoglow-quality"] = _header(str(quality))
        await self._start(send)
        await send({"type": "http.response.body", "body": content})
        if self._cache is not None and not self._spoken.is_broken:
            await self._cache.keep(self._tag, self._told(), content)

    def _add_warning(self) -> None:
        if warning := self._spoken.warning:
            self.headers["x-tacoglow-warning"] = _header(warning)

    def _told(self) -> dict[str, str]:
        """The headers that the speech has told, and that the request does not tell."""
        return {name: self.headers[name] for name in TOLD if name in self.headers}

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def _header(message: str) -> str:
    """As much of a message as a header may have: printable ASCII, with escapes for other characters, and no space at an
    end. For another value, h11 would close the connection instead of sending the answer."""
    header = ""
    for character in message[:MESSAGE_MAX]:
        escaped = escape_control(character).encode("ascii", "backslashreplace").decode()
        if len(header) + len(escaped) > MESSAGE_MAX:
            break
        header += escaped
    return header.strip()


async def _cancel_when_left(receive: Receive, speaking: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    speaking.cancel()
