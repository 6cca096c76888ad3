"""Uvicorn's connections, HTTP and WebSocket: each is noted while it is open, and what clients do wrong is bounded."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .connections import Connections

UNREAD_MAX = 1 << 20  # bytes that a client may send while it does not read the answers
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
        unanswered = 0  # bytes that came while the client does not read

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Break off a client who sends on without reading, such as pings, each of which has its pong. Answer what
            asks for a WebSocket in a wrong way, such as with a body; uvicorn leaves that unanswered."""
            is_read = self.transport.get_write_buffer_size() <= self.transport.get_write_buffer_limits()[1]
            self.unanswered = 0 if is_read else self.unanswered + len(data)
            if self.unanswered > UNREAD_MAX:
                self.transport.abort()
                return
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                self.transport.write(BAD_HANDSHAKE)
                self.transport.close()

    return WebSocketProtocol
