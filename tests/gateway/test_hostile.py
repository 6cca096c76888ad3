"""Malformed and hostile requests, while others speak."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tacoglow.gateway import request, server, speaking, wyoming_events
from tacoglow.gateway.sentences import SentenceBuffer
from tacoglow.gateway.state import AT_ONCE
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.handle import SpeechHandle
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.text import lexicon as text_lexicon

from .conftest import Expected
from .running import POST, RunningGateway, running

TEXT = "The gate was open."


def chunked(count: int) -> Iterator[bytes]:
    yield POST + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(count):
        yield b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    yield b"0\r\n\r\n"


UPGRADE = (
    b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# name -> (what is sent, the status that answers it)
HOSTILE = {
    "not HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n"], 400),
    "HTTP/2": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 404),
    "a header without end": ([b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"b" * 100_000], 400),
    "100,000 headers": ([b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 100_000], 400),
    "control characters": ([b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n"], 400),
    "negative length": ([POST + b"Content-Length: -1\r\n\r\n"], 400),
    "two lengths": ([POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"], 400),
    "length beyond all": ([POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}"], 400),
    "bad chunk": ([POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"], 400),
    "10 MB in chunks": (list(chunked(160)), 413),
    "70 MB in chunks": (list(chunked(1100)), 413),  # more than is read
    "deep JSON": ([POST + b"Content-Length: 4000\r\n\r\n" + b"[" * 4000], 400),
    "no body": ([POST + b"\r\n"], 400),
}
# More than the server reads: it answers and closes, and the system may drop an answer that meets unread bytes.
UNREAD = {"a header without end", "100,000 headers"}


def read_answer(connection: socket.socket) -> tuple[int, str]:
    """The status of the first answer, and the message of its error; uvicorn's own errors are plain text."""
    stream = connection.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    if headers["content-type"].startswith("text/plain"):
        return status, stream.read().decode()
    error = json.loads(stream.read(int(headers["content-length"])))["error"]
    return status, error["message"]


def attack(gateway: RunningGateway, parts: list[bytes]) -> tuple[int, str]:
    with gateway.connect() as connection:
        with suppress(OSError):  # answered before all was sent
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        return read_answer(connection)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_status_with_a_reason(gateway: RunningGateway, name: str) -> None:
    parts, expected = HOSTILE[name]
    try:
        status, reason = attack(gateway, parts)
    except ConnectionResetError:
        assert name in UNREAD
        return
    assert status == expected
    assert reason


def test_others_are_unharmed(gateway: RunningGateway, library_stream: Expected) -> None:
    expected = encode(np.asarray(library_stream(TEXT, 3)), "int16")
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        for _ in range(300):
            half_open = stack.enter_context(gateway.connect())
            half_open.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        hostile = [parts for name, (parts, _) in HOSTILE.items() if name not in UNREAD]
        attacks = [pool.submit(attack, gateway, parts) for parts in hostile for _ in range(3)]
        answers = [gateway.speech(input=TEXT, response_format="pcm", sample_rate=16_000, seed=3) for _ in range(5)]
        assert all(400 <= each.result()[0] < 500 for each in attacks)
    assert [answer.body == expected for answer in answers] == [True] * 5
    gateway.wait_until_idle()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_idle_connections_make_room_for_those_that_come(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch, library_stream: Expected, host: str
) -> None:
    monkeypatch.setattr(server, "connection_limits", lambda entries: (20, 4))
    body = json.dumps({"input": TEXT, "response_format": "pcm", "sample_rate": 16_000}).encode()
    event = json.dumps({"type": "synthesize", "data": {"text": TEXT}}).encode() + b"\n"
    scheduler, may_speak = new_scheduler(), threading.Event()
    submit = scheduler.submit

    def submit_later(*arguments: Any, **settings: Any) -> SpeechHandle:
        assert may_speak.wait(60)
        return submit(*arguments, **settings)

    with running(scheduler, host=host) as gateway, ExitStack() as stack:
        monkeypatch.setattr(scheduler, "submit", submit_later)
        speaking = stack.enter_context(gateway.connect())
        speaking.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        speaking_wyoming = stack.enter_context(gateway.connect_wyoming())
        speaking_wyoming.sendall(event)
        half_open = stack.enter_context(gateway.connect())
        half_open.sendall(POST)
        for _ in range(30):
            stack.enter_context(gateway.connect()).sendall(POST + b"Content-Length: 100\r\n\r\n{")
            assert gateway.request("/healthz").status == 200
        for connect_to in (gateway.connect, gateway.connect_wyoming) * 40:
            stack.enter_context(connect_to())
            if connect_to == gateway.connect:
                assert gateway.request("/healthz").status == 200
        may_speak.set()
        stream = speaking.makefile("rb")
        assert b"200" in stream.readline()
        http.client.parse_headers(stream)
        received = b""
        while size := int(stream.readline(), 16):
            received += stream.read(size)
            stream.readline()
        assert received == encode(np.asarray(library_stream(TEXT)), "int16")
        events = speaking_wyoming.makefile("rb")
        while b'"audio-stop"' not in (part := events.readline()):
            assert part
        assert half_open.recv(1) == b""


def test_the_limit_is_that_of_open_files() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (50, {hard}));"
        "from tacoglow.gateway.connections import connection_limits; print(*connection_limits());"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for hard, expected in ((64, "30 5 64 64"), (1024, "800 100 1024 1024")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(hard=hard)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == expected.split()


def test_a_client_that_reads_no_pongs_is_cut_off(gateway: RunningGateway) -> None:
    ping = b"\x89\xfd" + bytes(4) + bytes(125)  # of 125 bytes, masked with zeros
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(UPGRADE)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(ping * 400_000)  # 52 MB; a megabyte is taken, beside what the system keeps
    assert gateway.speech(input="Hi.").status == 200


@pytest.mark.parametrize("padding", [0, 4_096, 20_000])
def test_messages_that_come_at_once_while_the_server_waits_are_all_read(gateway: RunningGateway, padding: int) -> None:
    """The first one ends within what is looked at before others have their turn, and the next one may not."""
    messages = ["session.config", "planted", "input.flush", "last"]
    with connect(f"ws://127.0.0.1:{gateway.port}/v1/audio/speech/stream") as client:
        with client.protocol_mutex:
            for message in messages:
                client.protocol.send_text(json.dumps({"type": message}).encode() + b" " * padding)
            client.socket.sendall(b"".join(client.protocol.data_to_send()))
        answers = [json.loads(client.recv(30))["message"].rpartition(",")[2] for _ in range(2)]
    assert answers == [" got 'planted'", " got 'last'"]


def test_what_comes_after_the_servers_close_is_not_kept(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a client who is refused while more of what he has sent waits to be looked at."""
    forever = property(lambda protocol: 1e6, lambda protocol, seconds: None)  # until the end without an answer to it
    monkeypatch.setattr(WebSocketsSansIOProtocol, "close_timeout", forever, raising=False)
    messages = [json.dumps({"type": "planted"}), " ", " " * 20_000]
    with connect(f"ws://127.0.0.1:{gateway.port}/v1/audio/speech/stream") as client:
        with client.protocol_mutex:
            for message in messages:
                client.protocol.send_text(message.encode())
            client.socket.sendall(b"".join(client.protocol.data_to_send()))
        assert "got 'planted'" in str(client.recv(30))
        with pytest.raises(ConnectionClosedError):
            client.recv(30)


def test_close_codes_of_clients_make_few_counters(gateway: RunningGateway) -> None:
    def codes() -> dict[str, int]:
        lines = gateway.request("/metrics").body.decode().splitlines()
        stream = (line for line in lines if 'route="/v1/audio/speech/stream"' in line)
        return {line.partition('code="')[2].partition('"')[0]: int(line.split()[-1]) for line in stream}

    before = sum(codes().values())
    for code in range(3000, 3010):
        with connect(f"ws://127.0.0.1:{gateway.port}/v1/audio/speech/stream") as client:
            client.close(code)
    deadline = time.monotonic() + 30
    while sum(codes().values()) < before + 10:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert all(int(code) <= 3000 for code in codes())


@pytest.mark.parametrize("name", ["lexicon", "lexi\\u0063on"])
def test_long_lexicons_are_read_one_at_a_time_beside_the_event_loop(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reading: list[None] = []
    seen: list[tuple[int, str]] = []

    def read(entries: object) -> None:
        reading.append(None)
        seen.append((len(reading), threading.current_thread().name))
        time.sleep(0.05)
        reading.pop()

    monkeypatch.setattr(request, "Lexicon", read)
    entries = ",".join(f'"a{i}":"b"' for i in range(1000))
    body = f'{{"input":"Hi.","{name}":{{{entries}}}}}'.encode()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: gateway.request("/v1/audio/speech", body), range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert [count for count, _ in seen] == [1] * 4
    assert all("AnyIO" in thread for _, thread in seen)


def test_what_is_long_is_read_one_at_a_time_in_every_protocol(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body, a session's settings, its text, and an event's data."""
    reading: list[str] = []
    seen: list[tuple[str, int, str]] = []

    def note(kind: str, read: Callable[..., Any], is_long: Callable[..., bool]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            if not is_long(*arguments):
                return read(*arguments)
            reading.append(kind)
            seen.append((kind, len(reading), threading.current_thread().name))
            time.sleep(0.05)
            reading.remove(kind)
            return read(*arguments)

        return noted

    monkeypatch.setattr(request, "Lexicon", note("lexicon", lambda entries: None, lambda entries: True))
    monkeypatch.setattr(
        SentenceBuffer, "add", note("text", SentenceBuffer.add, lambda buffer, text: len(text) > AT_ONCE)
    )
    decode = note("data", request.decode_object, lambda content, name: name == "data")
    monkeypatch.setattr(wyoming_events, "decode_object", decode)
    lexicon, text = {f"a{i}": "b" for i in range(1000)}, TEXT + " And" + " x" * AT_ONCE

    def post(gateway: RunningGateway) -> None:
        assert gateway.speech(input="Hi.", lexicon=lexicon).status == 200

    def begin_session(gateway: RunningGateway) -> None:
        with connect(f"ws://127.0.0.1:{gateway.port}/v1/audio/speech/stream") as client:
            client.send(json.dumps({"type": "session.config", "lexicon": lexicon}))
            client.send(json.dumps({"type": "input.text", "text": text}))
            assert "audio.start" in str(client.recv(30))

    def send_event(gateway: RunningGateway) -> None:
        data = json.dumps({"text": text}).encode()
        with socket.create_connection(("127.0.0.1", gateway.wyoming_port), timeout=30) as client:
            client.sendall(b'{"type": "synthesize-start"}\n')
            client.sendall(b'{"type": "synthesize-chunk", "data_length": %d}\n' % len(data) + data)
            audio, chunk = client.makefile("rb"), b""
            while b"audio-chunk" not in chunk:
                chunk = audio.readline()
                assert chunk

    with running(new_scheduler()) as gateway, ThreadPoolExecutor(6) as pool:
        talks = [pool.submit(talk, gateway) for talk in (post, begin_session, send_event) * 2]
        for each in talks:
            each.result(60)
    assert sorted(kind for kind, _, _ in seen) == ["data"] * 2 + ["lexicon"] * 4 + ["text"] * 4
    assert [count for _, count, _ in seen] == [1] * 10
    assert all("AnyIO" in thread for _, _, thread in seen)


def test_requests_whose_long_bodies_wait_are_counted(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_reading, may_read = threading.Event(), threading.Event()

    def read(entries: object) -> None:
        is_reading.set()
        assert may_read.wait(30)

    monkeypatch.setattr(request, "Lexicon", read)
    body = {"input": "Hi.", "lexicon": {f"a{i}": "b" for i in range(1000)}}
    with running(new_scheduler(), max_requests=1) as gateway, ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(gateway.request, "/v1/audio/speech", body)
            assert is_reading.wait(30)
            refused = gateway.speech(input="Hi.")
            assert (refused.status, refused.error["code"]) == (503, "overloaded")
        finally:
            may_read.set()
        assert first.result(30).status == 200


@pytest.mark.full
def test_texts_of_clients_who_leave_are_split_one_at_a_time_too(
    new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = new_scheduler()
    splitting: list[str] = []
    seen: list[int] = []
    split = scheduler.voice.split

    def note(text: str, options: SpeechOptions) -> Any:
        splitting.append(text)
        seen.append(len(splitting))
        time.sleep(0.5)
        splitting.remove(text)
        return split(text, options)

    monkeypatch.setattr(scheduler.voice, "split", note)
    text = TEXT * (speaking.LONG_TEXT // len(TEXT) + 1)
    body = json.dumps({"input": text}).encode()
    with running(scheduler) as gateway:
        for count in range(1, 4):
            with gateway.connect() as connection:
                connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                deadline = time.monotonic() + 30
                while len(seen) < count + 1:  # the first one is of the health check
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        assert gateway.speech(input=text).status == 200
    assert seen == [1] * 5


def test_a_lexicon_that_would_take_much_memory(gateway: RunningGateway) -> None:
    answer = gateway.speech(input="Hi.", lexicon={f"{i:04d}" + "!" * 90: "b" for i in range(9000)})
    assert (answer.status, answer.error["param"]) == (400, "lexicon")
    assert "expected words of 50000 characters at most, got 846000" in answer.error["message"]


def test_a_session_prepares_its_lexicon_once_and_the_server_keeps_few(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made of one takes far more memory than its entries: idle sessions must not hold it, nor sentences pay."""
    planted: list[str] = []
    plant = text_lexicon._plant

    def note(tree: text_lexicon._Tree, key: Iterable[str], spoken: str) -> None:
        planted.append(spoken)
        plant(tree, key, spoken)

    def trees() -> int:
        gc.collect()
        return sum(type(each).__name__ == "_Tree" for each in gc.get_objects())

    def speak(client: ClientConnection, number: int) -> None:
        client.send(json.dumps({"type": "session.config", "lexicon": {f"a{i}": f"b{number}" for i in range(500)}}))
        client.send(json.dumps({"type": "input.text", "text": "Hi. Ho. He. Ha."}))
        for _ in range(3):
            while "audio.done" not in str(client.recv(30)):
                pass

    assert gateway.speech(input="Hi.").status == 200  # makes the voice's own
    before = trees()
    monkeypatch.setattr(text_lexicon, "_plant", note)
    with ExitStack() as sessions:
        for number in range(speaking.LEXICONS_MAX + 3):
            speak(sessions.enter_context(connect(f"ws://127.0.0.1:{gateway.port}/v1/audio/speech/stream")), number)
            assert planted == [f"b{number}"] * 2 * 500  # as they are spelled, and in any case
            planted.clear()
        per_lexicon = 2 * (500 + 1)
        assert trees() - before <= speaking.LEXICONS_MAX * per_lexicon + 10


def drip(connection: socket.socket, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="the operating system notices it on Linux")
def test_a_client_that_reads_nothing(new_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_SECONDS", 0.5)
    with running(new_scheduler()) as gateway, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)  # more than the system keeps
        time.sleep(2)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(connection, 10.0)


def test_a_message_of_thousands_of_fragments(gateway: RunningGateway) -> None:
    """One of few is a message; one of more than that, even of empty ones, ends the connection."""
    empty, message = b"\x00\x80" + bytes(4), b'{"type": "session.config"}'
    first, last = b"\x01\x80" + bytes(4), b"\x80" + bytes([0x80 + len(message)]) + bytes(4) + message
    for count, is_taken in ((5_000, True), (20_000, False)):
        with gateway.connect() as connection:
            connection.sendall(UPGRADE)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 101")
            connection.sendall(first + empty * count + last)
            with suppress(OSError):
                connection.sendall(b"\x81\x92" + bytes(4) + b'{"type":"unknown"}')
            received = b""
            with suppress(ConnectionResetError):
                while b"input.text" not in received and (part := connection.recv(1 << 16)):
                    received += part
            assert (b"expected input.text" in received) == is_taken
