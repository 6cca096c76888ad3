"""Uvicorn's connections, HTTP and WebSocket: each is noted while it is open, and what clients do wrong is bounded."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .connections import Connections

UNREAD_MAX = 1 << 20  # bytes that a client may send while it does not read the answers
TURN_BYTES = 4096  # bytes that are looked at before others have their turn
FRAGMENTS_MAX = 10_000  # of a message
BAD_HANDSHAKE = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nnot a WebSocket handshake"
)


def http_protocol(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol of HTTP connections that are noted there."""

    class HttpProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            super().connection_lost(exc)

    return HttpProtocol


def websocket_protocol(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol of WebSockets that are noted there."""

    class WebSocketProtocol(WebSocketsSansIOProtocol):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.unanswered = 0  # bytes that came while the client does not read
            self.waiting = bytearray()  # bytes that have not been looked at
            self.is_held = False  # while messages wait for the application

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            self.waiting.clear()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Break off a client who sends on without reading, such as pings, each of which has its pong."""
            is_read = self.transport.get_write_buffer_size() <= self.transport.get_write_buffer_limits()[1]
            self.unanswered = 0 if is_read else self.unanswered + len(data)
            if self.unanswered > UNREAD_MAX:
                self.transport.abort()
                return
            self.waiting += data
            if len(self.waiting) == len(data):  # otherwise a later call is on its way
                self.look()

        def look(self) -> None:
            """Take some of what has come, and the rest later: it may be thousands of frames."""
            data = bytes(self.waiting[:TURN_BYTES])
            del self.waiting[:TURN_BYTES]
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                # It asks in a wrong way, such as with a body; uvicorn leaves that unanswered.
                self.transport.write(BAD_HANDSHAKE)
                self.transport.close()
            if len(self.frames) > FRAGMENTS_MAX:
                self.transport.abort()
            if self.transport.is_closing():
                self.waiting.clear()
            self.go_on()

        def go_on(self) -> None:
            """Look at the rest, unless messages wait for the application, which then calls this."""
            self.is_held = self.read_paused
            if self.is_held:
                return
            if self.waiting:
                self.transport.pause_reading()
                self.loop.call_soon(self.look)
            elif not self.transport.is_closing():
                self.transport.resume_reading()

        async def send(self, message: Any) -> None:
            await super().send(message)
            if self.is_held:  # after a close nobody receives: what comes is looked at, and dropped
                self.go_on()

        async def receive(self) -> Any:
            message = await super().receive()
            if self.is_held:
                self.go_on()
            return message

    return WebSocketProtocol
