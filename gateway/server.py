"""Runs the gateway under uvicorn: its socket, its limits on connections, its end."""

from __future__ import annotations

import json
import os
import socket
import sys
from asyncio import TimerHandle, Transport
from typing import Any

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..runtime.errors import RequestError
from .app import build_app
from .errors import GatewayError
from .state import GRACE_SECONDS, MAX_BODY, GatewayOptions
from .voices import Voices

HEADER_SECONDS = 15.0  # from a connection, or from the first byte after an answer, to the end of a request's headers
MAX_HEADER_BYTES = 32 * 1024
MAX_CONNECTIONS = 700  # together with those of Wyoming fewer than the 1,024 files that Linux usually allows
REFUSED_SECONDS = 1.0  # that a connection stays whose client is refused: time to read why
UNREAD_SECONDS = 120.0  # after which a client that takes none of what it is sent has left


class GuardedProtocol(H11Protocol):
    """HTTP with limits that uvicorn lacks: connections that send no complete request are closed."""

    _timer: TimerHandle | None = None
    _header_seconds: float

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_seconds = HEADER_SECONDS
        if len(self.connections) > MAX_CONNECTIONS:
            self.app, self._header_seconds = _too_many_connections, REFUSED_SECONDS
        self._limit_wait()

    def data_received(self, data: bytes) -> None:
        if not self._is_refused():  # then it is not read
            super().data_received(data)
        if not self._is_refused():
            self._limit_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _limit_wait(self) -> None:
        """Let the time for headers run unless a request is being answered, or a WebSocket has taken over."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.get_protocol() is not self:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._header_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_refused(self) -> bool:
        """True once the connection has brought something that is not HTTP."""
        return bool(self.conn.their_state is h11.ERROR)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with an error like the others. A client that still sends is given time to read it."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # another answer has begun
            self.transport.close()
            return
        body = json.dumps(GatewayError(400, "invalid_http", msg).body).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.write_eof()
        self._stop_timer()
        self._timer = self.loop.call_later(REFUSED_SECONDS, self.transport.close)


async def _too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    message = f"more than {MAX_CONNECTIONS} connections are open, the most this server takes; try again soon"
    error = GatewayError(503, "overloaded", message, headers={"retry-after": "1", "connection": "close"})
    await error.response()(scope, receive, send)


def listen(host: str, port: int, option: str = "--port or --host") -> socket.socket:
    """Bind before voices are loaded, so that a port in use is said at once. Raises RequestError, which names option."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # create_server adds the address to the system's own words.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise RequestError(f"{host}:{port}: {reason}; choose another {option}") from error
    if sys.platform == "linux":  # connections inherit it; elsewhere clients that read nothing are kept
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNREAD_SECONDS))
    return listening


def build_server(
    voices: Voices, options: GatewayOptions, wyoming: socket.socket | None = None, **settings: Any
) -> uvicorn.Server:
    """A uvicorn server that finishes what has begun when it gets SIGTERM or SIGINT.

    wyoming: where it also takes connections of the Wyoming protocol.
    """
    config = uvicorn.Config(
        build_app(voices, options, wyoming),
        http=GuardedProtocol,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws_max_size=MAX_BODY,
        **{"log_level": "info", **settings},
    )
    return uvicorn.Server(config)
