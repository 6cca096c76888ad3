"""A gateway on a loopback port, in a thread of the test's process, and requests to it by hand."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Any

from tacoglow.gateway.health import Failures
from tacoglow.gateway.server import build_server, listen
from tacoglow.gateway.state import GatewayOptions
from tacoglow.gateway.upstream import Upstream
from tacoglow.gateway.voices import Voice, Voices
from tacoglow.runtime.errors import Overloaded
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.triton_server.client import bracket_ipv6

POST = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.json) == {"error"}
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass(frozen=True)
class RunningGateway:
    port: int
    scheduler: Any  # a Scheduler, or an Upstream
    wyoming_port: int
    stop: Callable[[], None]  # as SIGTERM does
    host: str

    @property
    def url(self) -> str:
        return f"http://{bracket_ipv6(self.host)}:{self.port}"

    def request(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """GET, or POST if there is a body: bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"content-type": "application/json"} | dict(headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, _lower(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def speech(self, **fields: Any) -> Answer:
        return self.request("/v1/audio/speech", fields)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=60)

    def connect_wyoming(self) -> socket.socket:
        return socket.create_connection((self.host, self.wyoming_port), timeout=60)

    def wait_until_idle(self, seconds: float = 30.0, active: int = 0) -> None:
        """Return once no request is being spoken but so many, and none is queued; fails the test after a while."""
        deadline = time.monotonic() + seconds
        while (state := self.scheduler.metrics()).active != active or state.queued:
            assert time.monotonic() < deadline, state
            time.sleep(0.01)


def refuse(*_: object) -> None:
    """A scheduler's `admit` while too much waits."""
    raise Overloaded("the first audio would come in about 61.0 s, later than 5 s; try again in 56 s", 56.0)


@contextmanager
def running(
    scheduler: Scheduler | Upstream,
    aliases: Mapping[str, str] | None = None,
    wait: bool = True,
    on_start: Callable[[Failures], None] = lambda failures: None,
    open_again: Callable[[], Scheduler] | None = None,
    host: str = "127.0.0.1",
    voice_id: str = "tiny",
    others: Sequence[Voice] = (),
    **options: Any,
) -> Iterator[RunningGateway]:
    """Serve a voice until the block ends; its scheduler is then closed. wait: until it is healthy."""
    with listen(host, 0) as listening, listen(host, 0) as wyoming:
        if isinstance(scheduler, Upstream):
            voice = Voice(voice_id, scheduler, scheduler.facts)
        else:
            voice = Voice.embedded(voice_id, scheduler, open_again=open_again)
        voices = Voices([voice, *others], aliases or {})
        server = build_server(voices, GatewayOptions(**options), wyoming, on_start, log_level="critical")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        stop = partial(setattr, server, "should_exit", True)
        gateway = RunningGateway(listening.getsockname()[1], scheduler, wyoming.getsockname()[1], stop, host)
        try:
            while wait and gateway.request("/health").status == 503:
                time.sleep(0.02)
            yield gateway
        finally:
            stop()
            thread.join(30)
            assert not thread.is_alive()
