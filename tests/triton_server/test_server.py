"""A real tritonserver gives the audio of the library, rejects invalid requests, and keeps serving."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import to_int16
from tacoglow.triton_server.client import ServerError, connect
from tacoglow.triton_server.contract import Response, SpeechRequest

from .conftest import MAX_CHARACTERS, SLOTS
from .server import TritonServer

pytest.importorskip("tritonclient.grpc")

TEXT = "Hello world, I missed you."
LONG = "This sentence is one of a good many. And another. " * 6  # far more than the tiny voice's 40 tokens
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "grpc"])
REQUESTS = (
    SpeechRequest(TEXT, 3),
    SpeechRequest(TEXT, 2**64 - 1),
    SpeechRequest("Other words.", 4, SpeechOptions(denoise=0.1, sigma=0.35)),
    SpeechRequest("Shorter.", 5, SpeechOptions(max_frames=9, gate_threshold=0.9, attention_stop=True)),
    SpeechRequest(LONG, 6),
    SpeechRequest("One. [pause 0.1s] Two. Three.", 7, SpeechOptions(rate=0.8, volume=0.5, sentence_silence=0.05)),
)


def post(server: TritonServer, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server.http}/v2/{path}", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def get(server: TritonServer, path: str) -> Any:
    with urllib.request.urlopen(f"{server.http}/v2/{path}", timeout=60) as response:
        return json.loads(response.read())


def expected_segments(voice: Synthesizer, asked: SpeechRequest) -> list[np.ndarray[Any, Any]]:
    return list(voice.stream(asked.text, asked.seed, options=asked.options))


@pytest.mark.parametrize("model", ["tacoglow", "tacoglow_stream"])
def test_configuration_is_served_as_written(server: TritonServer, repository: Path, model: str) -> None:
    json_format = pytest.importorskip("google.protobuf.json_format")
    text_format = pytest.importorskip("google.protobuf.text_format")
    config_type = pytest.importorskip("tritonclient.grpc.model_config_pb2").ModelConfig
    written = text_format.Parse((repository / model / "config.pbtxt").read_text(), config_type())
    served = json_format.ParseDict(get(server, f"models/{model}/config"), config_type())
    for field, value in written.ListFields():
        if field.name not in ("instance_group", "dynamic_batching"):  # Triton adds names and defaults to these
            assert getattr(served, field.name) == value, field.name
    assert [group.count for group in served.instance_group] == [group.count for group in written.instance_group]
    queue = served.dynamic_batching.default_queue_policy
    assert queue.max_queue_size == written.dynamic_batching.default_queue_policy.max_queue_size


@PROTOCOLS
@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.text[:8])
def test_complete_speech_equals_the_library(
    server: TritonServer, voice: Synthesizer, protocol: str, asked: SpeechRequest
) -> None:
    expected = voice.say(asked.text, asked.seed, asked.options)
    response = connect(getattr(server, protocol)).say(asked)
    np.testing.assert_array_equal(response.samples, expected.samples)
    assert response.sampling_rate == expected.sampling_rate
    assert response.stop_reason == expected.stop_reason


@PROTOCOLS
@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.text[:8])
def test_segments_equal_the_library(
    server: TritonServer, voice: Synthesizer, protocol: str, asked: SpeechRequest
) -> None:
    *segments, last = connect(getattr(server, protocol)).stream(asked)
    expected = expected_segments(voice, asked)
    assert len(segments) == len(expected)
    for segment, samples in zip(segments, expected, strict=True):
        np.testing.assert_array_equal(segment.samples, samples)
        assert segment.stop_reason == ""
    assert last.stop_reason in ("gate", "attention_end", "frame_limit")
    assert len(last.samples) == 0


def batch_sizes(server: TritonServer) -> Counter[int]:
    """Batch size -> number of batches run at this size."""
    (stats,) = get(server, "models/tacoglow/stats")["model_stats"]
    return Counter({entry["batch_size"]: entry["compute_infer"]["count"] for entry in stats["batch_stats"]})


def test_batch_items_equal_the_library(server: TritonServer, voice: Synthesizer) -> None:
    asked = [  # all with the same set of inputs, because Triton batches only those
        SpeechRequest(f"Words number {i}, and {'more ' * (i % 5)}words.", i, SpeechOptions(denoise=0.1 + 0.1 * (i % 2)))
        for i in range(24)
    ]
    asked[0] = SpeechRequest(LONG)  # while it is synthesized, the others queue up and share batches
    before = batch_sizes(server)
    start = Barrier(len(asked))

    def say(request: SpeechRequest) -> Response:
        client = connect(server.grpc)
        start.wait(60)
        return client.say(request)

    with ThreadPoolExecutor(len(asked)) as pool:
        responses = list(pool.map(say, asked))
    new = Counter[int]()
    for _ in range(100):  # Triton counts a batch some time after its responses
        new = batch_sizes(server) - before
        if sum(size * count for size, count in new.items()) >= len(asked):
            break
        time.sleep(0.1)
    assert max(new) > 1, new
    for request, response in zip(asked, responses, strict=True):
        expected = voice.say(request.text, request.seed, request.options)
        np.testing.assert_array_equal(response.samples, expected.samples)


def test_concurrent_streams_equal_the_library(server: TritonServer, voice: Synthesizer) -> None:
    asked = [SpeechRequest(f"Stream {i} of some. And on it goes, on and on.", i) for i in range(2 * SLOTS + 1)]

    def stream(request: SpeechRequest) -> list[np.ndarray[Any, Any]]:
        return [response.samples for response in connect(server.grpc).stream(request)]

    with ThreadPoolExecutor(len(asked)) as pool:
        for request, segments in zip(asked, pool.map(stream, asked), strict=True):
            np.testing.assert_array_equal(np.concatenate(segments), np.concatenate(expected_segments(voice, request)))


def test_generate_returns_a_wav(server: TritonServer, voice: Synthesizer) -> None:
    status, body = post(server, "models/tacoglow/generate", json.dumps({"text": TEXT, "encoding": "wav"}).encode())
    assert status == 200
    rate, samples = wavfile.read(io.BytesIO(base64.b64decode(json.loads(body)["encoded"])))
    expected = voice.say(TEXT)
    assert rate == expected.sampling_rate
    np.testing.assert_array_equal(samples, to_int16(expected.samples))


def test_generate_stream_returns_pcm(server: TritonServer, voice: Synthesizer) -> None:
    request = json.dumps({"text": TEXT, "seed": 3, "encoding": "int16"}).encode()
    status, body = post(server, "models/tacoglow_stream/generate_stream", request)
    assert status == 200
    events = [json.loads(line.removeprefix(b"data: ")) for line in body.splitlines() if line]
    pcm = b"".join(base64.b64decode(event["encoded"]) for event in events)
    expected = np.concatenate(expected_segments(voice, SpeechRequest(TEXT, 3)))
    np.testing.assert_array_equal(np.frombuffer(pcm, "<i2"), to_int16(expected))


@PROTOCOLS
def test_dropped_characters_are_reported(server: TritonServer, protocol: str) -> None:
    client, asked = connect(getattr(server, protocol)), SpeechRequest("Hi ☃.")
    assert "☃" in client.say(asked).warning
    assert "☃" in list(client.stream(asked))[-1].warning


BAD = {
    "empty": (SpeechRequest(""), "text: the text is empty"),
    "silent": (SpeechRequest("☃"), "nothing of '☃' can be spoken"),
    "too long": (SpeechRequest("a" * (MAX_CHARACTERS + 1)), f"this server accepts up to {MAX_CHARACTERS}"),
    "10 MB": (SpeechRequest("word " * 2_000_000), "10000000 characters"),
    "frames": (SpeechRequest(TEXT, options=SpeechOptions(max_frames=41)), "max frames: expected 1 to 40"),
}


@PROTOCOLS
@pytest.mark.parametrize("kind", BAD)
def test_invalid_request_is_rejected(server: TritonServer, protocol: str, kind: str) -> None:
    asked, message = BAD[kind]
    client = connect(getattr(server, protocol))
    for ask in (client.say, lambda request: list(client.stream(request))):
        with pytest.raises(ServerError, match=message) as caught:
            ask(asked)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"text": 5}',
        b'{"text": null}',
        b'{"text": {"a": 1}}',
        b'{"text": ["a", "b"]}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "Hi.", "seed": -1}',
        b'{"text": "Hi.", "seed": "one"}',
        b'{"text": "Hi.", "sigma": -1}',
        b'{"text": "' + b"x" * 10_000_000 + b'"}',
        b'{"text": "' + b"\xff" * 10_000_000 + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("path", ["models/tacoglow/generate", "models/tacoglow_stream/generate_stream"])
def test_malformed_body_is_rejected(server: TritonServer, path: str, body: bytes) -> None:
    status, answer = post(server, path, body)
    assert 400 <= status < 600
    assert b"error" in answer
    assert b"Traceback" not in answer
    assert b"model.py" not in answer


@pytest.mark.parametrize(
    ("shape", "data"), [([1, 2], ["a", "b"]), ([2, 1], ["a", "b"]), ([1], ["a"]), ([1, 1], []), ([9, 1], ["a"] * 9)]
)
def test_tensor_of_wrong_shape_is_rejected(server: TritonServer, shape: Sequence[int], data: Sequence[str]) -> None:
    body = {"inputs": [{"name": "text", "shape": shape, "datatype": "BYTES", "data": data}]}
    status, answer = post(server, "models/tacoglow/infer", json.dumps(body).encode())
    assert 400 <= status < 600
    assert b"error" in answer


def test_invalid_requests_do_not_affect_valid_ones(server: TritonServer, voice: Synthesizer) -> None:
    good = [SpeechRequest(f"A good one, number {i}.", i) for i in range(12)]
    bad = [SpeechRequest(("", "☃", "a" * (MAX_CHARACTERS + 1))[i % 3], i) for i in range(12)]

    def ask(asked: SpeechRequest) -> Any:
        try:
            return connect(server.grpc).say(asked)
        except ServerError as error:
            return error

    with ThreadPoolExecutor(24) as pool:
        mixed = [asked for pair in zip(good, bad, strict=True) for asked in pair]
        answers = dict(zip(mixed, pool.map(ask, mixed), strict=True))
    assert all(isinstance(answers[asked], ServerError) for asked in bad)
    for asked in good:
        np.testing.assert_array_equal(answers[asked].samples, voice.say(asked.text, asked.seed).samples)


@PROTOCOLS
def test_cancelled_stream_frees_its_slot(server: TritonServer, protocol: str) -> None:
    """Long streams fill all slots. Once they are closed, the next one is served long before they would have ended."""
    client = connect(getattr(server, protocol))
    sentences = 700
    taken = [client.stream(SpeechRequest("Going on and on, it does. " * sentences)) for _ in range(SLOTS)]
    start = time.monotonic()
    for stream in taken:
        assert len(list(islice(stream, 30))) == 30
    pace = (time.monotonic() - start) / (30 * SLOTS)  # seconds per segment
    for stream in taken:
        stream.close()  # type: ignore[attr-defined]
    start = time.monotonic()
    served = sum(1 for _ in client.stream(SpeechRequest("Next, please.")))
    assert served >= 2
    assert time.monotonic() - start < pace * sentences / 4  # each sentence is at least one segment


def test_unknown_model_and_unreachable_server(server: TritonServer) -> None:
    for url in (server.http, server.grpc):
        with pytest.raises(ServerError, match="unknown model: 'nobody'"):
            connect(url).say(SpeechRequest(TEXT), "nobody")
        with pytest.raises(ServerError, match="unknown model: 'nobody_stream'"):
            list(connect(url).stream(SpeechRequest(TEXT), "nobody"))
    for url in ("http://127.0.0.1:9", "grpc://127.0.0.1:9"):
        with pytest.raises(ServerError, match=f"{url}: no server answers there"):
            connect(url).say(SpeechRequest(TEXT))
        with pytest.raises(ServerError, match=f"{url}: no server answers there"):
            list(connect(url).stream(SpeechRequest(TEXT)))


def test_metrics_count_requests(server: TritonServer) -> None:
    connect(server.grpc).say(SpeechRequest(TEXT))
    with urllib.request.urlopen(server.metrics, timeout=10) as response:
        lines = response.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith('nv_inference_request_success{model="tacoglow",')]
    assert float(line.split()[-1]) >= 1
