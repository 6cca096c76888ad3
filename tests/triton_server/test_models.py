"""The models of the Python backend, without a server: requests that share a decoder, and each one's own answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tacoglow
from tacoglow import Synthesizer
from tacoglow.runtime.errors import Cancelled, DeadlineExceeded, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.scheduling.scheduler import SchedulerLimits
from tacoglow.triton_server import answers, python_backend, text_models
from tacoglow.triton_server.answers import TextModel
from tacoglow.triton_server.contract import RequestLimits, Response, SpeechRequest, read_request
from tacoglow.triton_server.python_backend import ServedVoice
from tacoglow.triton_server.text_models import StreamingModel, WholeModel

ENDLESS = SpeechOptions(retries=100, gate_threshold=0.9999999999, max_frames=40)  # its gate never fires
LONG = "One sentence after the other. " * 20
SECONDS = 60.0


class Request:
    """A Triton request whose client disconnects after `limit` responses."""

    def __init__(self, request: SpeechRequest, limit: int = 10_000) -> None:
        self.request, self.limit = request, limit
        self.sent: list[Any] = []
        self.last: Any = None
        self.ended = threading.Event()

    def get_response_sender(self) -> Request:
        return self

    def is_cancelled(self) -> bool:
        return len(self.sent) >= self.limit

    def send(self, response: Any) -> None:
        self.sent.append(response)

    def finish(self, response: Any = None) -> None:
        assert not self.ended.is_set()
        self.last = response
        self.ended.set()

    def wait(self) -> Any:
        """The last response."""
        assert self.ended.wait(SECONDS)
        return self.last


@pytest.fixture(params=[WholeModel, StreamingModel])
def model(request: pytest.FixtureRequest, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextModel]:
    """A text model, with fakes for Triton's requests and responses."""
    for module in (answers, text_models):
        monkeypatch.setattr(module, "error_response", lambda error: error)
        monkeypatch.setattr(module, "finish", lambda sender, response=None: sender.finish(response))
    monkeypatch.setattr(text_models, "speech_response", lambda tensors: tensors)
    monkeypatch.setattr(answers, "read_tensors", lambda asked: asked.request.tensors())
    model: TextModel = request.param()
    model.start(ServedVoice(Synthesizer.load(tiny_bundle, threads=1), RequestLimits(10_000, 100), 2))
    yield model
    model.finalize()


streams_only = pytest.mark.parametrize("model", [StreamingModel], indirect=True)
whole_only = pytest.mark.parametrize("model", [WholeModel], indirect=True)


def test_the_last_response_has_the_faults(model: TextModel) -> None:
    good = Request(SpeechRequest("Hi."))
    asked = Request(SpeechRequest("Hi ☃.", 0, replace(ENDLESS, retries=0)))
    model.execute([asked, good])
    told = Response.read(asked.wait()).warning
    assert told == "not spoken, this voice has no symbol for: '☃'; cut off: Hi ☃."
    assert Response.read(good.wait()).warning == ""


def samples(asked: Request) -> np.ndarray[Any, Any]:
    """The samples that a request without an encoding has got."""
    last = asked.wait()
    return np.concatenate([Response.read(part).samples for part in [*asked.sent, last]])


def expected(voice: Synthesizer, model: TextModel, asked: SpeechRequest) -> np.ndarray[Any, Any]:
    if isinstance(model, StreamingModel):
        return np.concatenate(list(voice.stream(asked.text, asked.seed, options=asked.options)))
    return voice.say(asked.text, asked.seed, asked.options).samples


def test_requests_equal_the_library(model: TextModel, voice: Synthesizer) -> None:
    texts = ["Hello world.", LONG, "Two.", "A third one, which has more words."]
    asked = [Request(SpeechRequest(text, seed)) for seed, text in enumerate(texts)]
    model.execute(asked[:2])
    model.execute(asked[2:])
    for request in asked:
        np.testing.assert_array_equal(samples(request), expected(voice, model, request.request))


@whole_only
def test_answer_goes_out_when_its_own_speech_is_done(model: TextModel) -> None:
    endless, short = Request(SpeechRequest("Hi.", 0, ENDLESS), limit=1), Request(SpeechRequest("Hello world.", 1))
    model.execute([endless, short])
    assert short.wait()["stop_reason"].item()
    assert not endless.ended.is_set()
    endless.limit = 0
    assert isinstance(endless.wait(), Cancelled)  # Triton requires a response of a model that is not decoupled


@streams_only
def test_cancelled_stream_ends(model: TextModel) -> None:
    asked = Request(SpeechRequest(LONG * 10), limit=3)
    model.execute([asked])
    assert asked.wait() is None  # without a response, but Triton must be told that the stream ended


@streams_only
def test_last_response_has_the_stop_reason(model: TextModel) -> None:
    asked = Request(SpeechRequest("I missed you.", 5, SpeechOptions(max_frames=3)))
    model.execute([asked])
    assert asked.wait()["stop_reason"].item() == b"frame_limit"
    assert asked.wait()["audio"].size == 0


@streams_only
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SpeechRequest("Hi.", encoding="wav"), "a stream supports int16 and float32"),
        (SpeechRequest("Hi.", options=SpeechOptions(retries=1)), "cannot take back"),
        (SpeechRequest(""), "empty"),
    ],
)
def test_rejected_stream(model: TextModel, request_: SpeechRequest, message: str) -> None:
    asked = [Request(request_) for _ in range(5)]  # more than there are slots
    model.execute(asked)
    for one in asked:
        assert isinstance(one.wait(), ValueError)
        assert message in str(one.last)


@whole_only
def test_request_is_abandoned_at_its_deadline(model: TextModel) -> None:
    max_seconds = 0.05
    model._served = replace(model._served, limits=RequestLimits(10_000, 100, max_seconds=max_seconds))
    asked = Request(SpeechRequest("Hi.", 0, ENDLESS))

    def past_the_deadline() -> bool:  # holds the scheduler, which asks before it looks at the deadline
        time.sleep(2 * max_seconds)
        return False

    asked.is_cancelled = past_the_deadline  # type: ignore[method-assign]
    model.execute([asked])
    assert isinstance(asked.wait(), DeadlineExceeded)


@streams_only
def test_execute_blocks_while_all_slots_are_taken(model: TextModel) -> None:
    gate = threading.Event()
    asked = [Request(SpeechRequest(LONG, seed)) for seed in range(4)]
    for one in asked:
        one.is_cancelled = lambda: not gate.wait(SECONDS)  # type: ignore[method-assign] # blocks the scheduler
    late = threading.Thread(target=model.execute, args=(asked,))
    late.start()
    late.join(0.2)
    assert late.is_alive()
    gate.set()
    late.join(SECONDS)
    for one in asked:
        one.wait()


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


LIMITS = {"max_characters": "7", "max_retries": "1", "max_frames": "0", "max_seconds": "9"}


def test_served_voice_reads_its_configuration(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "3").mkdir(parents=True)
    (tmp_path / "model" / "3" / "voice").symlink_to(tiny_bundle)
    parameters = {"backend": "onnxruntime", "compute": "auto", "threads": "1", "streams": "2"}
    parameters |= {"decoder": "engine", "profile": "latency"} | LIMITS
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    arguments = {
        "model_config": json.dumps(config),
        "model_repository": str(tmp_path / "model"),
        "model_version": "3",
        "model_instance_device_id": "0",
    }
    served = ServedVoice.load(arguments)
    assert served.limits == RequestLimits(max_characters=7, max_retries=1, max_seconds=9.0)
    assert (served.streams, served.voice.backend.threads) == (2, 1)  # type: ignore[attr-defined]
    assert served.voice.backend.options.compute == "auto"
    assert (served.voice.backend.options.decoder, served.profile) == ("engine", "latency")


def test_served_voice_passes_decoder_and_profile_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice that a GPU would speak, whose rows share decoder steps as its configuration says."""
    loaded: list[Any] = []

    def load(*arguments: Any, **options: Any) -> None:
        loaded.append(options)

    monkeypatch.setattr(Synthesizer, "load", load)
    parameters = {"backend": "tensorrt", "compute": "fp32", "threads": "0", "streams": "2"}
    parameters |= {"decoder": "fused", "profile": "throughput"} | LIMITS
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    arguments = {
        "model_config": json.dumps(config),
        "model_repository": str(tmp_path),
        "model_version": "1",
        "model_instance_device_id": "1",
    }
    model, limits = StreamingModel(), list[SchedulerLimits]()
    monkeypatch.setattr(answers, "Scheduler", lambda voice, given: limits.append(given))
    model.start(ServedVoice.load(arguments))
    model._news.put(None)
    assert (loaded[0]["decoder"], loaded[0]["device"]) == ("fused", 1)
    assert [given.profile for given in limits] == ["throughput"]


def test_frame_limit_of_the_server_applies(voice: Synthesizer) -> None:
    limits = RequestLimits(max_frames=7)
    request, _ = read_request(SpeechRequest("Hi.").tensors(), voice, limits)
    assert request.options.max_frames == 7
    with pytest.raises(RequestError, match="max frames: this server accepts up to 7, got 8"):
        read_request(SpeechRequest("Hi.", options=SpeechOptions(max_frames=8)).tensors(), voice, limits)


MODEL_PROCESS = """
from tacoglow.triton_server.python_backend import exit_with_parent
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
