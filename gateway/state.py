"""What the routes share: the voices, the limits, the counters."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from starlette.requests import HTTPConnection, Request

from ..runtime.errors import RequestError
from .errors import GatewayError, overloaded
from .metrics import Metrics
from .voices import Voices

MAX_BODY = 1 << 20  # bytes
MAX_DISCARDED_BODY = 1 << 26  # bytes that are read of a larger one: most clients send all before they read an answer
BODY_SECONDS = 20.0  # in which a request's body must have come
GRACE_SECONDS = 60  # in which requests that have begun can finish once the server is told to stop


@dataclass(frozen=True)
class GatewayOptions:
    """How a server answers; the command's options."""

    api_key: str | None = None  # None: everybody may speak
    cors: tuple[str, ...] = ()  # origins of web pages that may call it
    root_path: str = ""  # below which a proxy shows it
    max_wait: float = 5.0  # seconds; a request whose first audio would come later is refused
    max_characters: int = 50_000  # of a text
    max_requests: int = 256  # that are answered with speech at the same time

    def __post_init__(self) -> None:
        if self.max_wait <= 0 or self.max_characters < 1 or self.max_requests < 1:
            raise RequestError("max wait, characters and requests: expected positive numbers")
        if self.api_key is not None and not (self.api_key and self.api_key.isascii() and self.api_key.isprintable()):
            raise RequestError("--api-key: expected printable ASCII characters; leave it out to let everybody in")


@dataclass
class Gateway:
    """The state of one server. Used from the event loop only."""

    voices: Voices
    options: GatewayOptions
    metrics: Metrics = field(default_factory=Metrics)
    speaking: int = 0  # requests that are being answered with speech

    def check_accepts(self) -> None:
        """Raises GatewayError while voices start, and while too many requests are being answered."""
        if any(voice.last_heard is None for voice in self.voices.voices):
            raise GatewayError(
                503, "starting", "the voices are starting; try again in a second", headers={"retry-after": "1"}
            )
        if self.speaking >= self.options.max_requests:
            raise overloaded(f"{self.speaking} requests are being answered, the most this server takes; try again soon")


def gateway_of(connection: HTTPConnection) -> Gateway:
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def read_body(request: Request) -> bytes:
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
    if size > MAX_BODY:
        message = f"body: expected at most {MAX_BODY} bytes; send the text in parts"
        raise GatewayError(413, "request_too_large", message, headers={"connection": "close"})
    return bytes(body)
