"""Requests that a web page somewhere has a browser send, and others that are not for this server."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tacoglow.gateway.state import GatewayOptions
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import POST, Answer, RunningGateway, running

SOCKET = "/v1/audio/speech/stream"
EVIL = "http://evil.example:8880"
ROUTES = {"/v1/audio/speech": "input", "/dev/captioned_speech": "input", "/synthesize": "text"}


@pytest.fixture(scope="module")
def named(new_scheduler: Callable[[], Scheduler]) -> Iterator[RunningGateway]:
    """A gateway that answers to a name, behind a proxy that keeps the name to itself."""
    with running(new_scheduler(), hosts=("TTS.example", "gateway"), cors=("http://page.example",)) as gateway:
        yield gateway


def ask(gateway: RunningGateway, host: str, origin: str | None = None, path: str = "/healthz") -> Answer:
    return gateway.request(path, headers={"host": host} | ({} if origin is None else {"origin": origin}))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("route", ROUTES)
def test_types_that_any_page_may_send(gateway: RunningGateway, route: str, kind: str) -> None:
    answer = gateway.request(route, {ROUTES[route]: "Hi."}, {"content-type": kind})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    for own in ("application/json", "Application/JSON; charset=utf-8"):
        assert gateway.request(route, {ROUTES[route]: "Hi."}, {"content-type": own}).status == 200


def test_a_body_without_a_type(gateway: RunningGateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(POST.replace(b"Content-Type: application/json\r\n", b"") + b"Content-Length: 2\r\n\r\n{}")
        assert connection.recv(12) == b"HTTP/1.1 415"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8880", "127.0.0.1", "[::1]:8880", "192.0.2.7:8880"])
def test_own_hosts(gateway: RunningGateway, host: str) -> None:
    assert ask(gateway, host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example:8880", "localhost.evil.example", "gateway", "127.0.0.1.evil.example", "["]
)
def test_hosts_of_others(gateway: RunningGateway, host: str) -> None:
    for path in ("/", "/healthz", "/v1/models", "/metrics"):
        answer = ask(gateway, host, path=path)
        assert (answer.status, answer.error["code"]) == (421, "host_not_allowed")
        assert "--allowed-host" in answer.error["message"]


def test_hosts_that_are_allowed(named: RunningGateway, new_scheduler: Callable[[], Scheduler]) -> None:
    assert [ask(named, host).status for host in ("tts.example:80", "Gateway:8880", "localhost")] == [200] * 3
    assert ask(named, "evil.example").status == 421
    with running(new_scheduler(), hosts=("*",)) as open_to_all:
        assert ask(open_to_all, "evil.example").status == 200


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "http://[", "http://localhost:1", "https://127.0.0.1", "", "a" * 5000]
)
def test_pages_of_others(gateway: RunningGateway, origin: str) -> None:
    answer = gateway.request("/v1/audio/speech", {"input": "Hi."}, {"origin": origin})
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert len(answer.body) < 500


def test_own_pages(gateway: RunningGateway, named: RunningGateway) -> None:
    assert ask(gateway, f"localhost:{gateway.port}", f"http://localhost:{gateway.port}").status == 200
    assert ask(gateway, "127.0.0.1", "http://127.0.0.1").status == 200
    assert ask(named, "127.0.0.1:8880", "https://tts.example").status == 200  # nginx sends the address it has
    assert ask(named, "gateway", "http://page.example").status == 200


def refusal(gateway: RunningGateway, host: str | None = None, origin: str | None = None) -> tuple[str, int]:
    """What a WebSocket is told, and its close code."""
    headers = {} if host is None else {"Host": host}
    with connect(f"ws://127.0.0.1:{gateway.port}{SOCKET}", origin=origin, additional_headers=headers) as client:  # type: ignore[arg-type]
        told = json.loads(client.recv(10))["code"]
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(10)
        assert caught.value.rcvd is not None
        return told, caught.value.rcvd.code


def upgrade(method: str, host: str, *more: str) -> bytes:
    """A request for a WebSocket."""
    version, key = "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    headers = (f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket", version, key, *more)
    return "\r\n".join((f"{method} {SOCKET} HTTP/1.1", *headers, "\r\n")).encode()


def test_websockets_of_others(gateway: RunningGateway) -> None:
    for origin in (EVIL, "http://["):
        assert refusal(gateway, origin=origin) == ("origin_not_allowed", 1008)


def test_a_websocket_of_a_page_that_has_rebound_its_name(gateway: RunningGateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as connection:
        connection.sendall(upgrade("GET", EVIL[7:], f"Origin: {EVIL}"))
        received = b""
        while b"host_not_allowed" not in received:
            part = connection.recv(4096)
            assert part, received
            received += part


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade("POST", "localhost"), 405),
        (upgrade("POST", "localhost", "Content-Type: application/json", "Content-Length: 2") + b"{}", 400),
        (upgrade("GET", "localhost", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (upgrade("GET", "localhost", *["a: b"] * 300), 400),
        (upgrade("GET", "localhost", f"a: {'b' * 20_000}"), 400),
    ],
    ids=["method", "body", "chunks", "many headers", "long header"],
)
def test_wrong_requests_for_a_websocket(gateway: RunningGateway, request_: bytes, status: int) -> None:
    with gateway.connect() as connection:
        connection.settimeout(10)
        connection.sendall(request_)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 %d" % status)


def test_headers_of_more_than_32_kib(gateway: RunningGateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    for size, status in ((30_000, 200), (33_000, 431), (40_000, 431), (60_000, 431)):
        connection.request("GET", "/healthz", headers={"x-filler": "a" * size})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        connection.close()


def test_values_are_not_repeated_in_full(gateway: RunningGateway) -> None:
    long = "x" * 900_000
    for answer in (
        gateway.speech(input="Hi.", voice=long),
        gateway.speech(input="Hi.", model=long),
        gateway.speech(input="Hi.", response_format=long),
        gateway.speech(input="Hi.", lexicon={"a": long}),
        gateway.request(f"/v1/models/{long[:20_000]}"),
        gateway.request(f"/{long[:20_000]}"),
        gateway.request(f"/{long[:20_000]}", headers={"origin": long[:5000]}),
    ):
        assert 400 <= answer.status < 500
        assert len(answer.body) < 500


def test_numbers_that_no_float_holds(gateway: RunningGateway) -> None:
    for route, name in (("/synthesize", "length_scale"), ("/v1/audio/speech", "speed"), ("/v1/audio/speech", "sigma")):
        body = b'{"input": "Hi.", "text": "Hi.", "%s": 1%s}' % (name.encode(), b"0" * 400)
        answer = gateway.request(route, body)
        assert (answer.status, answer.error["param"]) == (400, name)


def test_no_traceback_for_what_clients_do(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(log, "handlers", [caplog.handler])  # not propagated
    with caplog.at_level(logging.INFO), caplog.at_level(logging.INFO, "uvicorn.error"):
        for _ in range(3):
            with gateway.connect() as upload:  # is broken off
                upload.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
            gateway.request("/healthz", headers={"origin": "http://["})
            with connect(f"ws://127.0.0.1:{gateway.port}{SOCKET}") as client:
                client.send(b"\xff\xfe", text=True)
                with pytest.raises(ConnectionClosed):
                    client.recv(10)
        gateway.wait_until_idle()
    assert caplog.records
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("cors", "https://a.example/", "https://a.example"),
        ("cors", "HTTPS://A.example:443", "https://a.example"),
        ("cors", "http://[::1]:8080", "http://[::1]:8080"),
        ("cors", "http://[::80]:80", "http://[::80]"),
        ("cors", "http://a.example:65535", "http://a.example:65535"),
        ("cors", "https://xn--4ca.example", "https://xn--4ca.example"),
        ("cors", "chrome-extension://abc", "chrome-extension://abc"),
        ("cors", "*", "*"),
        ("cors", "null", "null"),
        ("hosts", "TTS.example ", "tts.example"),
        ("hosts", "my_service", "my_service"),
        ("hosts", "::1", "::1"),
        ("hosts", "*", "*"),
    ],
)
def test_options_are_kept_as_requests_have_them(option: str, value: str, kept: str) -> None:
    assert getattr(GatewayOptions(**{option: (value,)}), option) == (kept,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "expected", "values"),
    [
        (
            "cors",
            "--cors: expected an origin such as https://example.com",
            [
                "a.example",
                "https://",
                "https://a.example/page",
                "https://*.example",
                "https://a b",
                "http://[:::]",
                "http://[127.0.0.1]",
                "http://a.example:65536",
            ],
        ),
        (
            "hosts",
            "--allowed-host, --host: expected a name such as tts.example.com, without scheme, port and brackets",
            ["x:1", "https://a.example", "*.example", "", "a/b", "[::1]"],
        ),
        (
            "cors",
            "--cors: expected the ASCII form, which browsers send (xn--…)",
            ["https://ä.example", "http://a.example:٨٠"],
        ),
        ("hosts", "--allowed-host, --host: expected the ASCII form, which browsers send (xn--…)", ["ä.example"]),
        ("root_path", "--root-path: expected a path such as /tts", ["https://a.example/tts", "/tts?a", "/tts#a"]),
    ],
)
def test_options_that_no_request_could_match(option: str, expected: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(RequestError, match=re.escape(expected) + ".* got ") as raised:
            GatewayOptions(**{option: value if option == "root_path" else (value,)})  # type: ignore[arg-type]
        assert str(raised.value).endswith(repr(value))


@pytest.mark.parametrize(("given", "path"), [("tts", "/tts"), ("/a/b/", "/a/b"), ("", ""), ("/", ""), ("a//b", "/a/b")])
def test_a_root_path_has_a_slash_in_front(given: str, path: str) -> None:
    assert GatewayOptions(root_path=given).root_path == path


def test_a_wait_that_is_no_number() -> None:
    with pytest.raises(RequestError, match="max wait"):
        GatewayOptions(max_wait=float("nan"))


@pytest.mark.parametrize("key", ["", " ", "a ", "kéy", "a\nb"])
def test_keys_that_nobody_could_send(key: str, tiny_bundle: Path) -> None:
    with pytest.raises(RequestError, match="--api-key, TACOGLOW_API_KEY: expected printable ASCII"):
        GatewayOptions(api_key=key)
    command = [str(Path(sys.executable).with_name("tacoglow")), "serve", str(tiny_bundle)]
    ended = subprocess.run(
        command, env={**os.environ, "TACOGLOW_API_KEY": key}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --api-key, TACOGLOW_API_KEY: expected printable")
