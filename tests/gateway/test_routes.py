"""The other routes, keys, limits, and requests that mean harm."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tacoglow.gateway import app, server, state
from tacoglow.gateway.health import Failures
from tacoglow.gateway.state import client_of
from tacoglow.gateway.voices import Voice, Voices
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .running import POST, Answer, RunningGateway, refuse, running

KEY = "secret"
VOICE = '{voice="tiny"}'


@pytest.fixture(scope="module")
def closed(new_scheduler: Callable[[], Scheduler]) -> Iterator[RunningGateway]:
    """A gateway with a key, below a path, for one origin, which takes one request at a time."""
    options = {"api_key": KEY, "cors": ("http://page.example",), "root_path": "/voice", "max_requests": 1}
    with running(new_scheduler(), **options) as gateway:  # type: ignore[arg-type]
        yield gateway


def test_lists(gateway: RunningGateway) -> None:
    models = gateway.request("/v1/models").json
    assert [model["id"] for model in models["data"]] == ["tiny", "Anna", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert gateway.request("/v1/audio/models").json["models"] == models["data"]
    for model in models["data"]:
        assert gateway.request(f"/v1/models/{model['id']}").json == model
        assert gateway.speech(input="Hi.", model=model["id"]).status == 200
    assert gateway.request("/v1/models/other").error["code"] == "model_not_found"
    voices = gateway.request("/v1/audio/voices").json
    expected = {"id": "tiny", "name": "tiny", "language": "en-US", "sample_rate": 16_000, "model": "tiny"}
    expected |= {"timestamps": True}
    described = [expected, expected | {"id": "Anna", "name": "Anna"}]
    assert voices == {"object": "list", "voices": described, "data": described}


@pytest.mark.parametrize("slashes", ["/", "//", "///"])
def test_addresses_joined_with_more_slashes(gateway: RunningGateway, closed: RunningGateway, slashes: str) -> None:
    """semperai/amica."""
    for path in ("v1/models", "v1/audio/voices", "health"):
        plain = gateway.request(f"/{path}").json
        for own in (f"/{path}", path.replace("/", slashes), f"{path}/"):
            assert gateway.request(slashes + own.lstrip("/")).json == plain
    spoken = gateway.speech(input="Hi.", response_format="pcm").body
    for path in (f"{slashes}v1/audio/speech", f"/v1{slashes}audio{slashes}speech", f"/v1/audio/speech{slashes}"):
        assert gateway.request(path, {"input": "Hi.", "response_format": "pcm"}).body == spoken
        assert closed.request(path, {"input": "Hi."}).status == 401
    assert closed.request(f"{slashes}voice{slashes}v1/models").status == 200
    assert gateway.request(f"{slashes}v2/models").error["code"] == "route_not_found"


def test_ipv4_reaches_the_unspecified_address_of_ipv6() -> None:
    for option in ("::", "::0"):
        with server.listen(option, 0) as listening:
            port = listening.getsockname()[1]
            for address in ("127.0.0.1", "::1"):
                with socket.create_connection((address, port), timeout=5):
                    listening.accept()[0].close()


def test_the_address_that_the_system_finds_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may say more than the option does: the interface of fe80::1%eth0."""
    found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [found])
    with server.listen("a.invalid", 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")])
def test_a_proxy_on_this_machine_tells_the_client(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    clients: list[str] = []

    def note(tokens: int, client: str, max_wait: float) -> None:
        clients.append(client)
        refuse()

    with running(new_scheduler(), host=host) as gateway:
        monkeypatch.setattr(gateway.scheduler, "admit", note)
        proxied = replace(gateway, host=address)
        assert proxied.request("/v1/audio/speech", {"input": "Hi."}, {"x-forwarded-for": "192.0.2.7"}).status == 503
    assert clients == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # of IPv4 too, at a socket that takes both
        ("2001:db8::1:2:3", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_the_client_of_an_address(address: str, client: str) -> None:
    assert client_of((address, 1)) == client


def test_health_speaks(gateway: RunningGateway) -> None:
    for path in ("/health", "/readyz", "/healthz"):
        assert gateway.request(path).json == {"status": "ok"}


def test_dead_voice_is_unhealthy(new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = new_scheduler()
    with running(scheduler) as gateway:
        monkeypatch.setattr("tacoglow.gateway.health.RECENT_SECONDS", 0.0)
        assert gateway.request("/health").status == 200

        def fail(*arguments: object) -> None:
            raise RuntimeError("planted")

        monkeypatch.setattr(scheduler, "submit", fail)
        answer = gateway.request("/health")
        assert (answer.status, answer.json) == (503, {"status": "tiny: does not speak"})
        assert gateway.request("/healthz").status == 200


class Started(threading.Event):
    """Set once every voice speaks."""

    def __call__(self, failures: Failures) -> None:
        if not failures:
            self.set()


@dataclass
class HeldVoice:
    """A scheduler that accepts nothing until it is let go."""

    scheduler: Scheduler
    held: threading.Event = field(default_factory=threading.Event)

    def submit(self, *arguments: Any, **others: Any) -> Any:
        assert self.held.wait(60)
        return self.scheduler.submit(*arguments, **others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheduler, name)


def test_requests_wait_for_a_voice_that_starts(new_scheduler: Callable[[], Scheduler]) -> None:
    held, ready = HeldVoice(new_scheduler()), Started()
    with running(held, wait=False, on_start=ready) as gateway, ThreadPoolExecutor() as pool:  # type: ignore[arg-type]
        models = pool.submit(gateway.request, "/v1/models")
        speech = pool.submit(gateway.speech, input="Hi.")
        time.sleep(0.3)
        assert not any(asked.done() for asked in (models, speech))
        assert not ready.is_set()
        held.held.set()
        assert (models.result().status, speech.result().status) == (200, 200)
        assert ready.is_set()


def test_a_voice_that_takes_long_to_start(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "START_SECONDS", 0.1)
    held, ready = HeldVoice(new_scheduler()), Started()
    with running(held, wait=False, on_start=ready) as gateway:  # type: ignore[arg-type]
        for answer in (gateway.speech(input="Hi."), gateway.request("/v1/models"), gateway.request("/v1/audio/voices")):
            assert (answer.status, answer.error["code"]) == (503, "starting")
            assert answer.headers["retry-after"] == "1"
        assert gateway.request("/health").json == {"status": "starting"}
        assert gateway.request("/healthz").status == 200
        held.held.set()
        assert ready.wait(60)
        assert gateway.speech(input="Hi.").status == 200


def test_a_voice_that_fails_at_the_start_is_asked_again(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("planted")

    scheduler, ready = new_scheduler(), Started()
    monkeypatch.setattr(scheduler, "submit", fail)
    with running(scheduler, wait=False, on_start=ready) as gateway:
        assert gateway.request("/health").json == {"status": "tiny: does not speak"}
        assert gateway.speech(input="Hi.").error["code"] == "synthesis_failed"
        assert not ready.is_set()
        monkeypatch.undo()
        assert gateway.request("/health").json == {"status": "ok"}


def test_metrics_are_prometheus_text(gateway: RunningGateway) -> None:
    gateway.speech(input="Hi.", response_format="wav")
    answer = gateway.request("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r'tacoglow_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+', line) for line in samples)
    values = dict(line.rsplit(" ", 1) for line in samples)
    assert int(values['tacoglow_requests_total{route="/v1/audio/speech",format="wav",code="200"}']) >= 1
    for name in ("first_audio_seconds", "audible_onset_seconds", "real_time_factor"):
        count = values[f"tacoglow_{name}_count{VOICE}"]
        assert values[f'tacoglow_{name}_bucket{{voice="tiny",le="+Inf"}}'] == count
        assert int(count) >= 1
    for name in ("audio_seconds_total", "audible_onset_seconds_sum", "real_time_factor_sum"):
        assert float(values[f"tacoglow_{name}{VOICE}"]) > 0
    assert {f"tacoglow_underruns_total{VOICE}", f"tacoglow_underrun_seconds_total{VOICE}"} <= values.keys()
    assert values[f"tacoglow_voice_open{VOICE}"] == "1"


def test_piper_route(gateway: RunningGateway) -> None:
    slow = gateway.request("/synthesize", {"text": "Hello.", "length_scale": 2})
    assert slow.headers["content-type"] == "audio/wav"
    assert slow.body == gateway.speech(input="Hello.", response_format="wav", stream=False, speed=0.5).body
    assert gateway.request("/synthesize", {"text": "Hello.", "voice": "x"}).error["code"] == "voice_not_found"
    slowest = gateway.request("/synthesize", {"text": "Hello.", "length_scale": 3.5})
    assert (slowest.status, slowest.body, slowest.headers["x-tacoglow-speed"]) == (200, slow.body, "0.5")
    assert gateway.request("/synthesize", {"text": "Hello.", "length_scale": 0}).error["param"] == "length_scale"


def test_key(closed: RunningGateway) -> None:
    for path in ("/", "/health", "/v1/models", "/v1/audio/models", "/v1/audio/voices"):
        assert closed.request(path).status == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}, {"authorization": "Bearer sécret"}):
        answer = closed.request("/v1/audio/speech", {"input": "Hi."}, headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["x-request-id"]
    right = {"authorization": f"Bearer {KEY}"}
    assert closed.request("/v1/audio/speech", {"input": "Hi."}, right).status == 200
    assert closed.request("/voice/v1/audio/speech", {"input": "Hi."}, right).status == 200


def test_metrics_need_no_key_and_tell_nothing_of_requests(closed: RunningGateway) -> None:
    """A scraper of Prometheus has no key, and without it an autoscaler would see no queue."""
    secrets = ("planted text", "planted-path", "planted-id", "planted-key", KEY)
    right = {"authorization": f"Bearer {KEY}", "x-request-id": "planted-id"}
    for fields in ({}, {"seed": 77_777}, {"voice": "planted text"}, {"response_format": "planted text"}):
        closed.request("/v1/audio/speech", {"input": "planted text", **fields}, right)
    closed.request("/v1/planted-path", headers={"authorization": "Bearer planted-key"})
    answer = closed.request("/metrics")
    assert answer.status == 200
    told = answer.body.decode()
    assert 'code="400"' in told
    assert [secret for secret in (*secrets, "77777") if secret in told] == []
    assert closed.request("/metrics", {}).status == 401  # only to be read


def test_the_page_asks_for_a_key_if_one_is_needed(gateway: RunningGateway, closed: RunningGateway) -> None:
    assert b"<label hidden>Key <input" in gateway.request("/").body
    assert b"<label>Key <input" in closed.request("/").body


def test_cors_for_named_origins_only(gateway: RunningGateway, closed: RunningGateway) -> None:
    page, other = {"origin": "http://page.example"}, {"origin": "http://other.example"}
    assert closed.request("/v1/models", headers=page).headers["access-control-allow-origin"] == page["origin"]
    assert "access-control-allow-origin" not in closed.request("/v1/models", headers=other).headers
    assert "access-control-allow-origin" not in gateway.request("/v1/models", headers=page).headers


@pytest.mark.parametrize(
    ("status", "headers"),
    [(401, {}), (421, {"host": "other.example"}), (431, {"x-filler": "a" * 33_000}), (415, {"content-type": "x/y"})],
)
def test_pages_may_read_why_they_are_refused(closed: RunningGateway, status: int, headers: dict[str, str]) -> None:
    key = {} if status == 401 else {"authorization": f"Bearer {KEY}"}
    for origin, allowed in (("http://page.example", "http://page.example"), ("http://localhost:8880", None)):
        own = {"host": "localhost:8880", "origin": origin, **key, **headers}
        answer = closed.request("/v1/audio/speech", {"input": "Hi."}, own)
        assert answer.status == status
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "x-request-id" in answer.headers
        assert allowed is None or unreadable(answer) == set()


def unreadable(answer: Answer) -> set[str]:
    """The headers of an answer that a page of another origin cannot read (fetch.spec.whatwg.org)."""
    always = {
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    }
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    about_the_answer = {"connection", "date", "vary", *(name for name in answer.headers if name.startswith("access-"))}
    return set(answer.headers) - always - set(exposed) - about_the_answer


def test_pages_may_read_whether_to_try_again(closed: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"authorization": f"Bearer {KEY}", "origin": "http://page.example"}

    def fail(*arguments: object) -> None:
        raise ArithmeticError("planted")

    for planted, status, told in ((refuse, 503, "retry-after"), (fail, 500, "x-should-retry")):
        monkeypatch.setattr(closed.scheduler, "admit", planted)
        answer = closed.request("/v1/audio/speech", {"input": "Hi."}, headers)
        assert (answer.status, told in answer.headers) == (status, True)
        assert unreadable(answer) == set()


def test_pages_may_read_that_the_server_failed(closed: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HTMLResponse", None)
    answer = closed.request("/", headers={"origin": "http://page.example"})
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == "http://page.example"


def test_what_browsers_ask_before_a_request(closed: RunningGateway) -> None:
    ask = (
        b"OPTIONS /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: %s\r\n"
        b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
    )
    for origin, status in ((b"http://page.example", b"200"), (b"http://other.example", b"403")):
        with closed.connect() as connection:
            connection.sendall(ask % origin)
            answer = connection.makefile("rb").read().lower()
        assert answer.split()[1] == status
        assert (b"access-control-allow-origin: " + origin in answer) == (status == b"200")


def test_too_many_requests_are_told_to_come_again(closed: RunningGateway) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    body = json.dumps({"input": "One two three four. " * 100, "response_format": "flac"}).encode()
    with closed.connect() as first:
        first.sendall(
            POST + b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
        )
        while not closed.scheduler.metrics().active:
            pass
        answer = closed.request("/v1/audio/speech", {"input": "Hi."}, headers)
    assert (answer.status, answer.error["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    closed.wait_until_idle()


def test_long_waits_are_refused(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.scheduler, "admit", refuse)
    answer = gateway.speech(input="Hi.")
    assert (answer.status, answer.error["type"]) == (503, "server_error")
    assert "61.0 s" in answer.error["message"]
    assert answer.headers["retry-after"] == "56"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), RuntimeError("std::bad_alloc")]
)
def test_short_memory_is_not_the_clients_fault(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(gateway.scheduler, "submit", fail)
        answer = gateway.speech(input="Hi.")
    assert (answer.status, answer.error["code"]) == (503, "out_of_memory")
    assert gateway.speech(input="Hi.").status == 200


def test_unknown_routes_and_methods(gateway: RunningGateway) -> None:
    assert gateway.request("/v1/audio").error["code"] == "route_not_found"
    assert gateway.request("/v1/audio/speech").error["code"] == "method_not_allowed"
    assert gateway.request("/v1/models", {}).status == 405


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'"text"', 400, "invalid_json"),
        (b'{"input": NaN}', 400, "invalid_json"),
        (b'{"input": "\xff"}', 400, "invalid_json"),
        (b"{}", 400, "missing_parameter"),
        (b'{"input": 5}', 400, "invalid_value"),
        (b'{"input": "a", "speed": "fast"}', 400, "invalid_value"),
        (b'{"input": "a", "speed": 1' + b"0" * 400 + b"}", 400, None),
        (b'{"input": "a", "seed": 1.5}', 400, "invalid_value"),
        (b'{"input": "a", "seed": true}', 400, "invalid_value"),
        (b'{"input": "a", "stream": 1}', 400, "invalid_value"),
        (b'{"input": "a", "voice": []}', 400, "invalid_value"),
        (b'{"input": "a", "voice": {"name": 1}}', 400, "invalid_value"),
        (b"x" * 10_000_000, 413, "request_too_large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_requests(gateway: RunningGateway, body: bytes, status: int, code: str | None) -> None:
    answer = gateway.request("/v1/audio/speech", body)
    assert answer.status == status
    assert answer.error["code"] == (code or answer.error["code"])
    assert gateway.speech(input="Hi.").status == 200


def test_slow_bodies_and_long_headers_are_ended(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "BODY_SECONDS", 0.2)
    with running(new_scheduler()) as gateway:
        with gateway.connect() as body:
            body.sendall(POST + b"Content-Length: 100\r\n\r\n{")
            assert body.recv(12) == b"HTTP/1.1 408"
        with gateway.connect() as flood:
            flood.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000)
            answer = flood.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 400")
            assert answer.endswith(b"Invalid HTTP request received.")
        assert gateway.speech(input="Hi.").status == 200


def test_ids_and_aliases_are_checked(gateway: RunningGateway) -> None:
    voice = Voice.embedded("tiny", gateway.scheduler)
    with pytest.raises(RequestError, match=r'two are called anna; export one with another "name" in its voice file'):
        Voices([voice, *(Voice.embedded(name, gateway.scheduler) for name in ("anna", "Anna"))])
    for voices, aliases in (([Voice.embedded("a\r\nb", gateway.scheduler)], {}), ([voice], {"\x1b[2J": "tiny"})):
        with pytest.raises(RequestError, match=r"voice '.*': has control characters in its name; rename it"):
            Voices(voices, aliases)
    with pytest.raises(RequestError, match="--alias a=b: expected one of tiny"):
        Voices([voice], {"a": "b"})
    with pytest.raises(RequestError, match="in use; choose another --port"):
        server.listen("127.0.0.1", gateway.port)
