"""Shared by the routes: the voices, the limits, the counters."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from ..runtime.errors import RequestError
from ..runtime.scheduling.policy import may_accept
from ..text.errors import quote
from .addresses import parse_host, parse_origin, parse_root_path
from .cache import Cache
from .connections import PEER, Connections
from .errors import GatewayError, overloaded
from .metrics import Metrics
from .voices import Voices

MAX_HEADER_BYTES = 32 * 1024
MAX_BODY = 1 << 20  # bytes
MAX_DISCARDED_BODY = 1 << 26  # bytes that are read of a larger one: most clients send all before they read an answer
AT_ONCE = 4_000  # bytes or characters of a client that are read on the event loop: a hundredth of a second
BODY_SECONDS = 20.0  # time limit for a request's body
GRACE_SECONDS = 60  # time limit for requests that have begun, once the server is told to stop

Content = TypeVar("Content")


@dataclass(frozen=True)
class GatewayOptions:
    """How a server answers; the command's options."""

    api_key: str | None = None  # None: everybody may speak
    cors: tuple[str, ...] = ()  # origins of web pages that may call it; "*": of all
    hosts: tuple[str, ...] = ()  # names that it answers to besides localhost and addresses; "*": to all
    root_path: str = ""  # below which a proxy shows it
    max_wait: float = 5.0  # seconds; a request whose first audio would come later is refused
    max_characters: int = 50_000  # of a text
    max_requests: int = 256  # that are answered with speech at the same time
    idle_unload: float | None = None  # seconds after which a voice that nobody uses is closed; None: never
    cache: Cache | None = None  # of answers; None: none is kept
    attention_window: int | None = None  # tokens, of requests that do not say; None: their attention sees all

    def __post_init__(self) -> None:
        if not self.max_wait > 0 or self.max_characters < 1 or self.max_requests < 1:  # NaN is not above 0
            raise RequestError("max wait, characters and requests: expected positive numbers")
        key = self.api_key
        if key is not None and not (key.strip() == key != "" and key.isascii() and key.isprintable()):
            raise RequestError(
                "--api-key, TACOGLOW_API_KEY: expected printable ASCII characters; leave it out to let everybody in"
            )
        object.__setattr__(self, "cors", tuple(map(parse_origin, self.cors)))
        object.__setattr__(self, "hosts", tuple(map(parse_host, self.hosts)))
        object.__setattr__(self, "root_path", parse_root_path(self.root_path))


@dataclass
class Gateway:
    """The state of one server. Used from the event loop only."""

    voices: Voices
    options: GatewayOptions
    connections: Connections
    metrics: Metrics = field(default_factory=Metrics)
    speaking: Counter[str] = field(default_factory=Counter)  # requests that are being answered with speech, by client
    reading: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, 1))  # of long bodies and messages
    splitting: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, 1))  # of long texts
    # Open closed voices, which takes seconds: not in the threads that requests for open ones need.
    openers: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 2, "opening"))
    is_starting: bool = True  # until every voice has been asked to speak for the first time

    def check_accepts(self, client: str) -> None:
        """Raises GatewayError while voices start, and while too many requests are being answered, in all or for this
        client."""
        self.check_started()
        held, total = self.speaking[client], self.speaking.total()
        if not may_accept(1, held, total, self.options.max_requests):
            raise overloaded(f"{total} requests are being answered, {held} of them yours; try again soon")

    async def read(self, size: int, read: Callable[[], Content]) -> Content:
        """Call what reads so many bytes or characters of a client: many in a thread, and one client's at a time,
        because that holds the interpreter."""
        if size <= AT_ONCE:
            return read()
        await self.reading.acquire()
        reading = asyncio.ensure_future(anyio.to_thread.run_sync(read))
        reading.add_done_callback(lambda _: self.reading.release())  # not when the client leaves
        return await asyncio.shield(reading)

    @contextmanager
    def answering(self, client: str) -> Iterator[None]:
        """Count a request of a client while it is being answered."""
        self.speaking[client] += 1
        try:
            yield
        finally:
            self.speaking[client] -= 1
            if not self.speaking[client]:
                del self.speaking[client]

    def check_started(self) -> None:
        """Raises GatewayError while voices start."""
        if self.is_starting:
            message = "the voices are starting; try again in a second"
            raise GatewayError(503, "starting", message, headers={"retry-after": "1"})


def client_of(address: Sequence[Any] | None) -> str:
    """The client who has this address; all of a network that IPv6 gives to one."""
    host = str(address[0]) if address else ""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:  # of a socket in the file system
        return host
    if parsed.version == 4:
        return host
    if parsed.ipv4_mapped is not None:  # of a socket that takes both
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def gateway_of(connection: HTTPConnection) -> Gateway:
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def accept(request: Request) -> tuple[Gateway, bytes]:
    """The server, if it takes another request, and the request's body. Raises GatewayError."""
    gateway = gateway_of(request)
    with gateway.connections.waiting(request.scope[PEER]):
        body = await _read_body(request)
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":  # other types any web page may send
        message = f"content-type: expected application/json, got {quote(content_type)}"
        raise GatewayError(415, "unsupported_media_type", message)
    gateway.check_accepts(client_of(request.client))
    return gateway, body


async def _read_body(request: Request) -> bytes:
    """The body, up to its limits in size and time. Raises GatewayError."""
    body, size = bytearray(), 0
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size <= MAX_BODY:
                    body += part
                elif size > MAX_DISCARDED_BODY:
                    break
    except TimeoutError as error:
        message = f"body: incomplete after {BODY_SECONDS:g} s; send it faster"
        raise GatewayError(408, "request_timeout", message, headers={"connection": "close"}) from error
    except ClientDisconnect as error:
        raise GatewayError(400, "disconnected", "body: the client left before its end") from error
    if size > MAX_BODY:
        message = f"body: expected at most {MAX_BODY} bytes; send the text in parts"
        raise GatewayError(413, "request_too_large", message, headers={"connection": "close"})
    return bytes(body)
