"""The client against wrong and hostile servers: one line in bounded time and memory, for both kinds of requests."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacoglow.tests.triton_server.hostile_server import Send, serve
from tacoglow.triton_server import client as client_module
from tacoglow.triton_server.client import ServerError, connect
from tacoglow.triton_server.contract import Response, SpeechRequest

GOOD = {"encoded": base64.b64encode(bytes(16)).decode(), "sampling_rate": 16000, "warning": ""}
HEAD = b"HTTP/1.1 200 OK\r\n"


def ask(url: str, is_stream: bool, timeout: float = 5.0, max_seconds: float = 10.0) -> list[Response]:
    client = connect(url, timeout, max_seconds)
    return list(client.stream(SpeechRequest("Hi."))) if is_stream else [client.say(SpeechRequest("Hi."))]


def message_of(answer: Callable[[Send], object], is_stream: bool, **deadlines: float) -> str:
    with serve(answer) as url, pytest.raises(ServerError) as caught:
        ask(url, is_stream, **deadlines)
    message = str(caught.value)
    assert message.startswith(url)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def json_answer(value: Any) -> Callable[[Send], object]:
    """The value as the only event of a stream, and as a complete body."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda send: send(HEAD + b"Content-Length: %d\r\n\r\n" % len(data) + data)


BAD_VALUES: dict[str, tuple[Any, str]] = {
    "an empty answer": (b"", "not a response"),
    "not JSON": (b"<html>", "not a response"),
    "a list": ([1], "not a response"),
    "a number": (7, "not a response"),
    "nested": (b"[" * 100_000, "not a response"),
    "an integer of 5,000 digits": (b"9" * 5000, "not a response"),
    "a missing key": ({"encoded": "", "sampling_rate": 16000, "warning": ""}, "'stop_reason' is missing"),
    "not base64": (GOOD | {"stop_reason": "gate", "encoded": "!"}, "not a response"),
    "half a sample": (GOOD | {"stop_reason": "gate", "encoded": "AAA="}, "not a response"),
    "a number as text": (GOOD | {"stop_reason": "gate", "encoded": 7}, "not a response"),
    "an unknown stop reason": (GOOD | {"stop_reason": "\x1b[2J"}, "stop_reason: expected one of gate"),
    "a rate of 0": (GOOD | {"stop_reason": "gate", "sampling_rate": 0}, "sampling_rate: expected 1 to"),
    "a rate of 400 digits": (GOOD | {"stop_reason": "gate", "sampling_rate": 10**400}, "sampling_rate: expected 1 to"),
    "a rate as a list": (GOOD | {"stop_reason": "gate", "sampling_rate": [1, 2]}, "not a response"),
    "NaN": (
        GOOD | {"stop_reason": "gate", "encoded": base64.b64encode(np.full(4, np.nan, "<f4").tobytes()).decode()},
        "its samples contain NaN or Inf",
    ),
    "a long error": ({"error": "x" * 100_000}, "x" * 100),
    "an error as an object": ({"error": {"a": 1}}, "a"),
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("value", "message"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_invalid_response_is_one_line(value: Any, message: str, is_stream: bool) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert message in message_of(json_answer(b"data:" + data + b"\n\n" if is_stream else data), is_stream)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("head", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 500 No\r\n\r\n", HEAD + b"\r\n", b"\0" * 99])
def test_wrong_protocol_is_one_line(head: bytes, is_stream: bool) -> None:
    message_of(lambda send: send(head), is_stream)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("head", [b"", HEAD + b"\r\n", HEAD + b"\r\ndata:"])
def test_dripped_bytes_do_not_defeat_the_deadline(head: bytes, is_stream: bool) -> None:
    def drip(send: Send) -> None:
        send(head)
        for _ in range(100):
            send(b"1")
            time.sleep(0.1)

    start = time.monotonic()
    assert "no complete answer within 0.5 s" in message_of(drip, is_stream, timeout=0.5)
    assert time.monotonic() - start < 5.0


def test_endless_stream_ends_at_the_deadline_of_the_request() -> None:
    event = b"data:" + json.dumps(GOOD | {"stop_reason": ""}).encode() + b"\n\n"

    def flood(send: Send) -> None:
        send(HEAD + b"\r\n")
        while True:
            send(event)

    start = time.monotonic()
    assert "or 0.5 s in total" in message_of(flood, True, max_seconds=0.5)
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("is_stream", [False, True])
def test_endless_body_is_not_read(monkeypatch: pytest.MonkeyPatch, is_stream: bool) -> None:
    monkeypatch.setattr(client_module, "RESPONSE_BYTES_MAX", 1 << 20)

    def flood(send: Send) -> None:
        send(HEAD + b"\r\ndata:")
        while True:
            send(b"0" * 65536)

    assert "a response exceeds 1 MiB" in message_of(flood, is_stream)


def test_the_letter_of_a_voice() -> None:
    with serve(json_answer({"name": "tacoglow", "parameters": {"letter": {"string_value": "{AA}"}}})) as url:
        assert connect(url).letter() == "{AA}"


@pytest.mark.parametrize("value", [{"name": "tacoglow", "parameters": {}}, {"name": "tacoglow"}, [1]])
def test_models_without_a_letter_are_one_line(value: Any) -> None:
    with serve(json_answer(value)) as url, pytest.raises(ServerError, match="tacoglow: not a model of export-triton"):
        connect(url).letter()


def test_a_letter_that_is_not_json_is_one_line() -> None:
    with serve(json_answer(b"<html>")) as url, pytest.raises(ServerError, match="not a response of a tacoglow voice"):
        connect(url).letter()


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError])
def test_answer_that_comes_before_the_whole_request_is_read(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """A server may answer after the head of a request, and close: sending the rest then fails."""

    class Connection(HTTPConnection):
        def send(self, data: Any) -> None:
            super().send(data)
            raise error

    monkeypatch.setattr(client_module, "HTTPConnection", Connection)
    with serve(json_answer(GOOD | {"stop_reason": "gate"})) as url:
        assert len(ask(url, False)[0].samples) == 4


def test_changed_sampling_rate_is_rejected() -> None:
    events = [json.dumps(GOOD | {"stop_reason": "", "sampling_rate": rate}).encode() for rate in (16000, 8000)]
    body = b"".join(b"data:" + event + b"\n\n" for event in events)
    assert "changed from 16000 to 8000 Hz" in message_of(json_answer(body), True)


@pytest.mark.parametrize("url", ["http://[", "http://h:99999", "file:///etc/passwd", "http://", "http://h:x"])
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="--url"):
        connect(url)


def test_control_characters_of_a_server_are_shown_as_escapes(tmp_path: Path) -> None:
    code = "import sys; from tacoglow.cli import main; sys.argv[0] = 'tacoglow'; main()"
    with serve(json_answer({"error": "\x1b[2Jgone\u202e"})) as url:
        command = [sys.executable, "-c", code, "say", "Hi.", "--url", url, "-o", str(tmp_path / "out.wav")]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.decode() == f"error: {url}: \\x1b[2Jgone\\u202e\n"
    assert not list(tmp_path.iterdir())
