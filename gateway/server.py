"""Runs the gateway under uvicorn: its socket, its limits on connections, its end."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..runtime.errors import RequestError
from .app import build_app
from .bundles import Bundles
from .connections import Connections, connection_limits
from .health import Failures
from .protocols import http_protocol, websocket_protocol
from .state import GRACE_SECONDS, MAX_BODY, MAX_HEADER_BYTES, GatewayOptions
from .tracing import log_config
from .voices import Voices

LOOPBACK = "127.0.0.1,::1,::ffff:127.0.0.1"  # the last one at a socket that takes IPv4 and IPv6
UNREAD_SECONDS = 120.0  # a client that reads nothing for this long is dropped
UNREAD_BYTES = 1 << 18  # of a connection that the system keeps, which would be megabytes, minutes of speech


def listen(host: str, port: int, option: str = "--port or --host") -> socket.socket:
    """Bind before voices are loaded, so that a port in use is said at once. Raises RequestError, which names option."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # "::" is every address of IPv4 too
        listening = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=is_dual)
    except OSError as error:
        # create_server adds the address to the system's own words.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise RequestError(f"{host}:{port}: {reason}; choose another {option}") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
    if sys.platform == "linux":  # connections inherit it; elsewhere clients that read nothing are kept
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNREAD_SECONDS))
    return listening


class WithoutTraceback(logging.Filter):
    """Leaves the traceback out of what uvicorn logs of a client's mistake."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = None
        return True


def build_server(
    voices: Voices,
    options: GatewayOptions,
    wyoming: socket.socket | None = None,
    on_start: Callable[[Failures], None] = lambda failures: None,
    bundles: Bundles | None = None,
    report: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> uvicorn.Server:
    """A uvicorn server that finishes what has begun when it gets SIGTERM or SIGINT.

    wyoming: where it also takes connections of the Wyoming protocol. on_start: called once every voice was asked to
    speak, with those that do not. bundles: where they come from, to be read again at SIGHUP, of which `report` tells.
    """
    limit, at_once = connection_limits(0 if options.cache is None else options.max_requests)
    connections = Connections(limit)
    app = build_app(voices, options, connections, wyoming, on_start, bundles, report)
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", LOOPBACK)  # proxies, as uvicorn reads it
    config = uvicorn.Config(
        connections.watch(ProxyHeadersMiddleware(app, trusted)),  # type: ignore[arg-type]
        http=http_protocol(connections),
        ws=websocket_protocol(connections),
        proxy_headers=False,
        backlog=at_once,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws_max_size=MAX_BODY,
        ws_per_message_deflate=False,  # audio becomes no smaller, and compressing it holds the event loop
        **{"log_level": "info", "log_config": log_config(), **settings},
    )
    logging.getLogger("uvicorn.error").addFilter(WithoutTraceback())
    return uvicorn.Server(config)
