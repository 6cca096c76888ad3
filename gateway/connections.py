"""Open connections: when there are too many, those that have been idle for longest are closed for those that come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

MAX_CONNECTIONS = 4_096
AT_ONCE_MAX = 100  # connections that are taken before any of them is noted
OWN_FILES = 24  # descriptors that the server needs for itself, about half of which it has open
PEER = "tacoglow.peer"  # of an ASGI scope: the address at the other end of the connection, whatever a proxy says

Peer = tuple[Any, ...] | None


class Connections:
    """The connections of one server, of all protocols. Used from the event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[Peer, asyncio.BaseTransport] = {}  # the least recently used first
        self._busy: dict[Peer, int] = {}  # requests that are being answered

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Take note of a connection, and close others if there are too many."""
        self._open[peer_of(transport)] = transport
        idle = (peer for peer in self._open if peer not in self._busy)
        while len(self._open) > self.limit and (peer := next(idle, None)) is not None:
            self._open.pop(peer).close()
            idle = (peer for peer in self._open if peer not in self._busy)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        peer = peer_of(transport)
        if self._open.get(peer) is transport:
            del self._open[peer]

    @contextmanager
    def busy(self, peer: Peer) -> Iterator[None]:
        """Keep a connection open meanwhile; it is then the most recently used one."""
        self._count(peer, 1)
        try:
            yield
        finally:
            self._count(peer, -1)

    @contextmanager
    def waiting(self, peer: Peer) -> Iterator[None]:
        """Take a busy connection for an idle one meanwhile, because it waits for its client."""
        self._count(peer, -1)
        try:
            yield
        finally:
            self._count(peer, 1)

    def _count(self, peer: Peer, change: int) -> None:
        requests = self._busy.pop(peer, 0) + change
        if requests:
            self._busy[peer] = requests
        if peer in self._open:
            self._open[peer] = self._open.pop(peer)

    def watch(self, app: ASGIApp) -> ASGIApp:
        """The application, of which every HTTP request keeps its connection busy; a WebSocket does so by itself."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            scope[PEER] = scope.get("client")
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            with self.busy(scope[PEER]):
                await app(scope, receive, send)

        return watched


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The address and port at the other end, as ASGI has them: of IPv6 without flow and scope."""
    address: Peer = transport.get_extra_info("peername")
    return address and address[:2]


def connection_limits(entries: int = 0) -> tuple[int, int]:
    """How many connections this process may have open, and how many it may take at once beside them, after its limit of
    open files has been raised as far as it goes. entries: files of the cache that it may have open; without a
    descriptor, an answer is not kept.
    """
    files = MAX_CONNECTIONS
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY:
            files = min(files, hard)
        if soft != resource.RLIM_INFINITY and soft < files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    usable = files - OWN_FILES - min(entries, files // 4)
    at_once = min(max(usable // 8, 1), AT_ONCE_MAX)
    return max(usable - 2 * at_once, 1), at_once
