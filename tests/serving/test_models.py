"""The models of the Python backend, without a server: streams that take turns, batches in which one request fails."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tacoglow
from tacoglow import Synthesizer
from tacoglow.runtime.audio import Audio
from tacoglow.runtime.errors import Cancelled, DeadlineExceeded, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.serving import python_backend, streaming
from tacoglow.runtime.serving.contract import RequestLimits, SpeechRequest, read_request
from tacoglow.runtime.serving.python_backend import ServedVoice
from tacoglow.runtime.serving.streaming import RoundRobin, StreamingModel
from tacoglow.runtime.serving.whole import synthesize_batch

NOTHING = "no response"
NEVER: Callable[[], bool] = lambda: False  # noqa: E731


def items(name: str, count: int, log: list[str], at_first: Callable[[], None] = lambda: None) -> Iterator[None]:
    for i in range(count):
        if i == 0:
            at_first()
        log.append(f"{name}{i}")
        yield


def test_streams_take_turns() -> None:
    round_robin, log = RoundRobin(2), []  # type: RoundRobin, list[str]
    round_robin.admit(items("a", 3, log))
    round_robin.admit(items("b", 2, log))
    round_robin.close()
    round_robin.run()
    assert log == ["a0", "b0", "a1", "b1", "a2"]


def test_new_stream_gets_the_next_turn() -> None:
    round_robin, log = RoundRobin(2), []  # type: RoundRobin, list[str]
    round_robin.admit(
        items("a", 5, log, at_first=lambda: round_robin.admit(items("b", 2, log, at_first=round_robin.close)))
    )
    round_robin.run()
    assert log == ["a0", "b0", "a1", "b1", "a2", "a3", "a4"]


def test_streams_are_limited_to_the_slots() -> None:
    round_robin, log = RoundRobin(1), []  # type: RoundRobin, list[str]
    worker = threading.Thread(target=round_robin.run)
    worker.start()
    gate = threading.Event()

    def wait() -> None:
        assert gate.wait(30)

    round_robin.admit(items("a", 1, log, at_first=wait))
    late = threading.Thread(target=lambda: round_robin.admit(items("b", 1, log)))
    late.start()
    late.join(0.2)
    assert late.is_alive()  # blocked, because the slot is taken
    gate.set()
    late.join(30)
    round_robin.wait_for_slot()
    round_robin.close()
    worker.join(30)
    assert log == ["a0", "b0"]


def test_failing_stream_does_not_end_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> Iterator[None]:
        yield
        raise RuntimeError("broken")

    round_robin, log = RoundRobin(2), []  # type: RoundRobin, list[str]
    round_robin.admit(failing())
    round_robin.admit(items("a", 3, log))
    round_robin.close()
    round_robin.run()
    assert log == ["a0", "a1", "a2"]
    assert "broken" in capsys.readouterr().err
    round_robin.wait_for_slot()  # would block if no slot had been released


class Sender:
    """A response sender whose client disconnects after `limit` segments."""

    def __init__(self, limit: int) -> None:
        self.limit, self.sent = limit, 0
        self.finished: Any = None

    def is_cancelled(self) -> bool:
        return self.sent >= self.limit

    def send(self, response: Any) -> None:
        self.sent += 1


@pytest.fixture
def streams(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> StreamingModel:
    """The streaming model, with fakes for Triton's responses."""
    monkeypatch.setattr(streaming, "speech_response", lambda tensors: tensors)
    monkeypatch.setattr(streaming, "error_response", lambda error: error)
    monkeypatch.setattr(streaming, "finish", lambda sender, response=NOTHING: setattr(sender, "finished", response))
    model = StreamingModel()
    model._served = ServedVoice(voice, RequestLimits(10_000), 1)
    return model


def test_cancelled_stream_ends_within_a_segment(streams: StreamingModel) -> None:
    sender = Sender(limit=3)
    text = "One sentence after the other. " * 20
    list(streams._stream(sender, SpeechRequest(text).tensors()))
    assert sender.sent <= 4
    assert sender.finished == NOTHING  # without a response, but Triton must be told that the stream ended


def test_last_response_has_the_stop_reason(streams: StreamingModel, voice: Synthesizer) -> None:
    sender = Sender(limit=10_000)
    request = SpeechRequest("I missed you.", 5, SpeechOptions(max_frames=3))
    assert list(streams._stream(sender, request.tensors()))
    assert sender.finished is not None
    assert sender.finished["stop_reason"].item() == b"frame_limit"
    assert sender.finished["audio"].size == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SpeechRequest("Hi.", encoding="wav"), "a stream supports int16 and float32"),
        (SpeechRequest("Hi.", options=SpeechOptions(retries=1)), "cannot take back"),
        (SpeechRequest(""), "empty"),
    ],
)
def test_rejected_stream(streams: StreamingModel, request_: SpeechRequest, message: str) -> None:
    sender = Sender(limit=10_000)
    assert list(streams._stream(sender, request_.tensors())) == []
    assert isinstance(sender.finished, ValueError)
    assert message in str(sender.finished)


def test_failure_in_a_batch_does_not_affect_the_others(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    say_batch = voice.say_batch

    def fragile(texts: list[str], seeds: list[int], options: SpeechOptions) -> list[Audio]:
        if "bad" in texts:
            raise RequestError("the audio contains NaN")
        return say_batch(texts, seeds, options)

    monkeypatch.setattr(voice, "say_batch", fragile)
    requests = [SpeechRequest("One.", 1), SpeechRequest("bad"), SpeechRequest("Two.", 2)]
    first, second, third = synthesize_batch(voice, requests, [NEVER] * 3)
    assert isinstance(second, RequestError)
    for result, request in ((first, requests[0]), (third, requests[2])):
        assert isinstance(result, Audio)
        np.testing.assert_array_equal(result.samples, voice.say(request.text, request.seed).samples)


def test_batch_is_abandoned_once_all_requests_are_cancelled(voice: Synthesizer) -> None:
    requests = [SpeechRequest("One.", 1), SpeechRequest("Two.", 2)]
    assert all(isinstance(result, Cancelled) for result in synthesize_batch(voice, requests, [lambda: True] * 2))
    some = synthesize_batch(voice, requests, [lambda: True, NEVER])
    assert all(isinstance(result, Audio) for result in some)


def test_error_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid request, a cancelled one, and an error of the server, which is also logged."""

    class TritonError(SimpleNamespace):
        CANCELLED, INVALID_ARG, INTERNAL = "cancelled", "invalid", "internal"

        def __init__(self, message: str, code: str) -> None:
            super().__init__(message=message, code=code)

    module = SimpleNamespace(TritonError=TritonError, InferenceResponse=lambda error: error)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    assert python_backend.error_response(RequestError("invalid")).code == "invalid"
    assert python_backend.error_response(Cancelled("cancelled")).code == "cancelled"
    assert capsys.readouterr().err == ""
    assert vars(python_backend.error_response(MemoryError())) == {"message": "MemoryError", "code": "internal"}
    assert "MemoryError" in capsys.readouterr().err


def test_served_voice_reads_its_configuration(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "3").mkdir(parents=True)
    (tmp_path / "model" / "3" / "voice").symlink_to(tiny_bundle)
    parameters = {"backend": "onnxruntime", "threads": "1", "max_characters": "7", "streams": "2", "max_seconds": "9"}
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    arguments = {
        "model_config": json.dumps(config),
        "model_repository": str(tmp_path / "model"),
        "model_version": "3",
        "model_instance_device_id": "0",
    }
    served = ServedVoice.load(arguments)
    assert served.limits == RequestLimits(max_characters=7, max_seconds=9.0)
    assert (served.streams, served.voice.backend.threads) == (2, 1)  # type: ignore[attr-defined]


ENDLESS = SpeechOptions(retries=100, gate_threshold=0.9999999999, max_frames=40)  # its gate never fires


def test_request_is_abandoned_at_its_deadline(voice: Synthesizer) -> None:
    requests = [SpeechRequest("Hi.", seed, ENDLESS) for seed in range(2)]
    start = time.monotonic()
    results = synthesize_batch(voice, requests, [NEVER, NEVER], start + 0.2)
    assert time.monotonic() - start < 5.0
    assert [type(result) for result in results] == [DeadlineExceeded, DeadlineExceeded]
    assert "took too long" in str(results[0])
    assert isinstance(synthesize_batch(voice, [SpeechRequest("Hi.")], [NEVER], start + 600)[0], Audio)


def test_stream_is_abandoned_at_its_deadline(streams: StreamingModel, voice: Synthesizer) -> None:
    streams._served = ServedVoice(voice, RequestLimits(10_000, max_seconds=0.0), 1)
    sender = Sender(limit=10_000)
    assert list(streams._stream(sender, SpeechRequest("One sentence. " * 20).tensors())) == []
    assert isinstance(sender.finished, DeadlineExceeded)


def test_abandoned_request_stops_its_retries(voice: Synthesizer) -> None:
    calls = itertools.count()
    results = synthesize_batch(voice, [SpeechRequest("Hi.", 0, ENDLESS)], [lambda: next(calls) >= 100])
    assert isinstance(results[0], Cancelled)
    assert next(calls) == 101


def test_frame_limit_of_the_server_applies(voice: Synthesizer) -> None:
    limits = RequestLimits(max_frames=7)
    request, _ = read_request(SpeechRequest("Hi.").tensors(), voice, limits)
    assert request.options.max_frames == 7
    with pytest.raises(RequestError, match="max frames: this server accepts up to 7, got 8"):
        read_request(SpeechRequest("Hi.", options=SpeechOptions(max_frames=8)).tensors(), voice, limits)


MODEL_PROCESS = """
from tacoglow.runtime.serving.python_backend import exit_with_parent
exit_with_parent()
print("ready", flush=True)
while True:
    pass
"""
SERVER_PROCESS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_model_process_does_not_survive_its_server() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(tacoglow.__file__).parents[1])}
    command = [sys.executable, "-c", SERVER_PROCESS, MODEL_PROCESS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        assert server.stdout.readline() == "ready\n"
        server.kill()
    deadline = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(process: int) -> bool:
    """False once the process has ended, even if nobody has waited for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
