"""The gateway in front of real Triton servers, and of none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.gateway.upstream import Upstream, UpstreamVoice, parse_upstreams
from tacoglow.runtime.errors import BackendError, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import encode

from ..triton_server.server import TritonServer
from .conftest import Expected
from .running import POST, RunningGateway, running

pytest.importorskip("tritonclient.grpc")

TEXT = "The gate was open. It is shut now."
PCM: dict[str, Any] = {"response_format": "pcm", "sample_rate": 16_000}


def address(server: TritonServer) -> str:
    return server.grpc.removeprefix("grpc://")


@pytest.fixture(scope="module")
def upstream(server: TritonServer) -> Iterator[RunningGateway]:
    """In front of a server and of one that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        absent = f"grpc://127.0.0.1:{unused.getsockname()[1]}"
    (voice,) = parse_upstreams([absent, server.grpc])
    with running(Upstream(voice)) as gateway:
        yield gateway


def test_whole_and_streamed_speech_is_the_librarys(
    upstream: RunningGateway, library_stream: Expected, voice: Synthesizer
) -> None:
    options = SpeechOptions(
        rate=1.25, sigma=0.5, volume=0.8, sentence_silence=0.2, trim_silence=True, attention_window=6
    )
    fields = {
        "speed": 1.25,
        "sigma": 0.5,
        "volume": 0.8,
        "sentence_silence": 0.2,
        "attention_window": 6,
        "seed": 5,
        "trim_silence": True,
    }
    streamed = upstream.speech(input=TEXT, **PCM, **fields).body
    assert streamed == encode(library_stream(TEXT, 5, options), "int16")
    whole = upstream.speech(input=TEXT, stream=False, retries=1, **PCM, **fields).body
    assert whole == encode(voice.say(TEXT, 5, options).samples, "int16")


def test_a_client_that_leaves_a_whole_answer_frees_the_server(upstream: RunningGateway) -> None:
    before = upstream.scheduler.metrics().cancelled
    with upstream.connect() as connection:
        body = b'{"input": "%s", "stream": false}' % (b"one two three four five six seven. " * 80)
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        while not upstream.scheduler.metrics().active:
            time.sleep(0.005)
    upstream.wait_until_idle(5.0)
    assert upstream.scheduler.metrics().cancelled == before + 1


def test_the_voice_is_described(upstream: RunningGateway) -> None:
    (voice,) = upstream.request("/v1/audio/voices").json["voices"]
    assert (voice["id"], voice["language"], voice["sample_rate"], voice["timestamps"]) == (
        "tiny",
        "en-US",
        16_000,
        False,
    )
    assert upstream.request("/health").status == 200


def test_errors(upstream: RunningGateway) -> None:
    refused = upstream.speech(input="a " * 12_000)  # Triton's models were told to accept 20,000
    assert (refused.status, refused.error["code"]) == (400, "invalid_value")
    assert refused.error["message"].startswith("text: ")
    captioned = upstream.request("/dev/captioned_speech", {"input": "a"})
    assert (captioned.status, captioned.error["param"]) == (400, "return_timestamps")
    assert upstream.request("/dev/captioned_speech", {"input": "a", "return_timestamps": False}).status == 200
    assert not np.frombuffer(upstream.speech(input="😀", **PCM).body, "<i2").any()


def test_what_the_server_has_not_spoken_is_told(upstream: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    told = r"not spoken, this voice has no symbol for: '\u2603'"
    assert upstream.speech(input="Hi ☃.", stream=False, **PCM).headers["x-tacoglow-warning"] == told
    assert "x-tacoglow-warning" not in upstream.speech(input="Hi.", stream=False, **PCM).headers
    assert "nothing of" in upstream.speech(input="😀", stream=False, **PCM).headers["x-tacoglow-warning"]
    upstream.speech(input="Hi ☃.", **PCM)
    assert [message.partition(":")[2][:12] for message in caplog.messages] == [
        " not spoken,",
        " text: nothi",
        " not spoken,",
    ]


def test_a_client_that_leaves_frees_the_server(upstream: RunningGateway, server: TritonServer) -> None:
    before = upstream.scheduler.metrics().cancelled
    with upstream.connect() as connection:
        body = b'{"input": "%s", "response_format": "pcm"}' % (b"one two three four five six seven. " * 80)
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        assert connection.recv(12) == b"HTTP/1.1 200"
    upstream.wait_until_idle(2.0)
    assert upstream.scheduler.metrics().cancelled == before + 1


def test_a_server_that_dies_is_replaced(triton: None, repository: Path, library_stream: Expected) -> None:
    expected = encode(library_stream(TEXT), "int16")
    with ExitStack() as stack:
        servers = [stack.enter_context(TritonServer(repository, ["--exit-timeout-secs=5"])) for _ in range(2)]
        (voice,) = parse_upstreams([server.grpc for server in servers])
        with running(Upstream(voice)) as gateway:
            assert gateway.speech(input=TEXT, **PCM).body == expected
            servers[0].kill()
            for _ in range(3):
                assert gateway.speech(input=TEXT, **PCM).body == expected
            servers[1].kill()
            answer = gateway.speech(input=TEXT, **PCM)
            assert (answer.status, answer.error["code"]) == (503, "upstream_unavailable")
            assert "retry-after" in answer.headers


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(BackendError, match=f"--upstream: no server tells of the voice: 127.0.0.1:{port}: "):
        Upstream(UpstreamVoice("tacoglow", ((f"127.0.0.1:{port}", False),)))


def test_addresses() -> None:
    urls = ["grpc://a:8001", "grpcs://b", "grpc://[::1]:9/anna", "grpc://a"]
    assert parse_upstreams(urls) == [
        UpstreamVoice("tacoglow", (("a:8001", False), ("b:443", True), ("a:8001", False))),
        UpstreamVoice("anna", (("[::1]:9", False),)),
    ]


@pytest.mark.parametrize("url", ["", "a:8001", "http://a:8001", "grpc://", "grpc://a:99999"])
def test_a_bad_address(url: str) -> None:
    with pytest.raises(RequestError, match=r"--upstream .*: expected grpc://HOST:8001, or grpcs://, and /NAME"):
        parse_upstreams([url])
