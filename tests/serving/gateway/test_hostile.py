"""What is no request, and what is one of bad will, while others speak."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from tacoglow.runtime.wav_writer import encode

from .conftest import Expected
from .running import RunningGateway

HEAD = b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\n"
TEXT = "The gate was open."


def chunked(count: int) -> Iterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(count):
        yield b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


# name -> (what is sent, the status that answers it)
HOSTILE = {
    "not HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n"], 400),
    "HTTP/2": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 404),
    "a header without end": ([b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 100_000], 400),
    "100,000 headers": ([b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100_000], 400),
    "control characters": ([b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n"], 400),
    "negative length": ([HEAD + b"Content-Length: -1\r\n\r\n"], 400),
    "two lengths": ([HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"], 400),
    "length beyond all": ([HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}"], 400),
    "bad chunk": ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"], 400),
    "10 MB in chunks": (list(chunked(160)), 413),
    "deep JSON": ([HEAD + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000], 400),
    "no body": ([HEAD + b"\r\n"], 400),
}


def status_of(gateway: RunningGateway, parts: list[bytes]) -> int:
    with gateway.connect() as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before all was sent
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").readline()
    return int(answer.split()[1])


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_status(gateway: RunningGateway, name: str) -> None:
    parts, status = HOSTILE[name]
    assert status_of(gateway, parts) == status


def test_others_are_unharmed(gateway: RunningGateway, library_stream: Expected) -> None:
    expected = encode(np.asarray(library_stream(TEXT, 3)), "int16")
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        for _ in range(300):
            half_open = stack.enter_context(gateway.connect())
            half_open.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        attacks = [pool.submit(status_of, gateway, parts) for parts, _ in HOSTILE.values() for _ in range(3)]
        answers = [gateway.speech(input=TEXT, response_format="pcm", sample_rate=16_000, seed=3) for _ in range(5)]
        assert all(400 <= attack.result() < 500 for attack in attacks)
    assert [answer.body == expected for answer in answers] == [True] * 5
    gateway.wait_until_idle()
