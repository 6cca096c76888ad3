"""Runs the gateway under uvicorn: its socket, its limits on connections, its end."""

from __future__ import annotations

import json
import os
import socket
from asyncio import TimerHandle, Transport
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...errors import RequestError
from .app import build_app
from .errors import GatewayError
from .state import GRACE_SECONDS, MAX_BODY, GatewayOptions
from .voices import Voices

HEADER_SECONDS = 15.0  # in which a new connection must have sent the headers of a request
MAX_HEADER_BYTES = 32 * 1024
MAX_CONNECTIONS = 1_000


class TimedProtocol(H11Protocol):
    """Closes connections that send no complete request; uvicorn itself waits for their first one without end."""

    _timer: TimerHandle

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADER_SECONDS, self._close_unless_requested)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _close_unless_requested(self) -> None:
        if self.cycle is None and self.transport.get_protocol() is self:  # a WebSocket replaces the protocol
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with an error like the others."""
        body = json.dumps(GatewayError(400, "invalid_http", msg).body).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


def listen(host: str, port: int, option: str = "--port or --host") -> socket.socket:
    """Bind before voices are loaded, so that a port in use is said at once. Raises RequestError, which names option."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # create_server adds the address to the system's own words.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise RequestError(f"{host}:{port}: {reason}; choose another {option}") from error


def build_server(
    voices: Voices, options: GatewayOptions, wyoming: socket.socket | None = None, **settings: Any
) -> uvicorn.Server:
    """A uvicorn server that finishes what has begun when it gets SIGTERM or SIGINT.

    wyoming: where it also takes connections of the Wyoming protocol.
    """
    config = uvicorn.Config(
        build_app(voices, options, wyoming),
        http=TimedProtocol,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws_max_size=MAX_BODY,
        **{"log_level": "info", **settings},
    )
    return uvicorn.Server(config)
