"""Runs the gateway under uvicorn: its socket, its limits on connections, its end."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from ..runtime.errors import RequestError
from .app import build_app
from .health import Failures
from .state import GRACE_SECONDS, MAX_BODY, GatewayOptions
from .voices import Voices

MAX_HEADER_BYTES = 32 * 1024
MAX_CONNECTIONS = 700  # together with those of Wyoming fewer than the 1,024 files that Linux usually allows
UNREAD_SECONDS = 120.0  # a client that reads nothing for this long is dropped


def listen(host: str, port: int, option: str = "--port or --host") -> socket.socket:
    """Bind before voices are loaded, so that a port in use is said at once. Raises RequestError, which names option."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # "::" is every address of IPv4 too
        listening = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=is_dual)
    except OSError as error:
        # create_server adds the address to the system's own words.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise RequestError(f"{host}:{port}: {reason}; choose another {option}") from error
    if sys.platform == "linux":  # connections inherit it; elsewhere clients that read nothing are kept
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNREAD_SECONDS))
    return listening


def build_server(
    voices: Voices,
    options: GatewayOptions,
    wyoming: socket.socket | None = None,
    on_start: Callable[[Failures], None] = lambda failures: None,
    **settings: Any,
) -> uvicorn.Server:
    """A uvicorn server that finishes what has begun when it gets SIGTERM or SIGINT.

    wyoming: where it also takes connections of the Wyoming protocol. on_start: called once every voice was asked to
    speak, with those that do not.
    """
    config = uvicorn.Config(
        build_app(voices, options, wyoming, on_start),
        http="h11",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws_max_size=MAX_BODY,
        **{"log_level": "info", **settings},
    )
    return uvicorn.Server(config)
