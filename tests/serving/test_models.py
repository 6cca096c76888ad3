"""What runs in the server's Python backend, here without one: turns between streams, batches in which one fails."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.audio import Audio
from tacoglow.runtime.errors import Cancelled, RequestError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.serving import python_backend, streaming
from tacoglow.runtime.serving.contract import SpeechRequest
from tacoglow.runtime.serving.python_backend import ServedVoice
from tacoglow.runtime.serving.streaming import StreamingModel, Turns
from tacoglow.runtime.serving.whole import speak_together

NOTHING = "no response"
NEVER: Callable[[], bool] = lambda: False  # noqa: E731


def steps(name: str, count: int, said: list[str], at_first: Callable[[], None] = lambda: None) -> Iterator[None]:
    for i in range(count):
        if i == 0:
            at_first()
        said.append(f"{name}{i}")
        yield


def test_streams_take_turns() -> None:
    turns, said = Turns(2), []  # type: Turns, list[str]
    turns.admit(steps("a", 3, said))
    turns.admit(steps("b", 2, said))
    turns.close()
    turns.run()
    assert said == ["a0", "b0", "a1", "b1", "a2"]


def test_a_late_arrival_is_heard_before_the_others_go_on() -> None:
    turns, said = Turns(2), []  # type: Turns, list[str]
    turns.admit(steps("a", 5, said, at_first=lambda: turns.admit(steps("b", 2, said, at_first=turns.close))))
    turns.run()
    assert said == ["a0", "b0", "a1", "b1", "a2", "a3", "a4"]


def test_no_more_streams_than_slots() -> None:
    turns, said = Turns(1), []  # type: Turns, list[str]
    worker = threading.Thread(target=turns.run)
    worker.start()
    gate = threading.Event()

    def wait() -> None:
        assert gate.wait(30)

    turns.admit(steps("a", 1, said, at_first=wait))
    late = threading.Thread(target=lambda: turns.admit(steps("b", 1, said)))
    late.start()
    late.join(0.2)
    assert late.is_alive()  # blocked: the slot is taken
    gate.set()
    late.join(30)
    turns.wait_for_slot()
    turns.close()
    worker.join(30)
    assert said == ["a0", "b0"]


def test_one_failing_stream_does_not_end_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> Iterator[None]:
        yield
        raise RuntimeError("broken")

    turns, said = Turns(2), []  # type: Turns, list[str]
    turns.admit(failing())
    turns.admit(steps("a", 3, said))
    turns.close()
    turns.run()
    assert said == ["a0", "a1", "a2"]
    assert "broken" in capsys.readouterr().err
    turns.wait_for_slot()  # both slots are free: this would block


class Sender:
    """A response sender whose client goes away after some chunks."""

    def __init__(self, patience: int) -> None:
        self.patience, self.sent = patience, 0
        self.finished: Any = None

    def is_cancelled(self) -> bool:
        return self.sent >= self.patience

    def send(self, response: Any) -> None:
        self.sent += 1


@pytest.fixture
def streams(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> StreamingModel:
    """The streaming model over stand-ins for Triton's module."""
    monkeypatch.setattr(streaming, "respond", lambda tensors: tensors)
    monkeypatch.setattr(streaming, "refuse", lambda error: error)
    monkeypatch.setattr(streaming, "finish", lambda sender, response=NOTHING: setattr(sender, "finished", response))
    model = StreamingModel()
    model._served = ServedVoice(voice, 10_000, 1)
    return model


def test_a_cancelled_stream_ends_within_a_chunk(streams: StreamingModel) -> None:
    sender = Sender(patience=3)
    text = "One sentence after the other. " * 20
    list(streams._stream(sender, SpeechRequest(text).tensors()))
    assert sender.sent <= 4
    assert sender.finished == NOTHING  # nobody is there to hear of it, but Triton must be told


def test_a_stream_ends_with_its_reason(streams: StreamingModel, voice: Synthesizer) -> None:
    sender = Sender(patience=10_000)
    request = SpeechRequest("I missed you.", 5, SpeechOptions(max_frames=3))
    assert list(streams._stream(sender, request.tensors()))
    assert sender.finished is not None
    assert sender.finished["stop_reason"].item() == b"frame_limit"
    assert sender.finished["audio"].size == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SpeechRequest("Hi.", encoding="wav"), "a stream takes int16 or float32"),
        (SpeechRequest("Hi.", options=SpeechOptions(retries=1)), "cannot take back"),
        (SpeechRequest(""), "empty"),
    ],
)
def test_a_refused_stream(streams: StreamingModel, request_: SpeechRequest, message: str) -> None:
    sender = Sender(patience=10_000)
    assert list(streams._stream(sender, request_.tensors())) == []
    assert isinstance(sender.finished, ValueError)
    assert message in str(sender.finished)


def test_one_failure_in_a_batch_is_its_own(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    speak = voice.say_batch

    def fragile(texts: list[str], seeds: list[int], options: SpeechOptions) -> list[Audio]:
        if "bad" in texts:
            raise RequestError("the audio holds NaN")
        return speak(texts, seeds, options)

    monkeypatch.setattr(voice, "say_batch", fragile)
    asked = [SpeechRequest("One.", 1), SpeechRequest("bad"), SpeechRequest("Two.", 2)]
    first, second, third = speak_together(voice, asked, [NEVER] * 3)
    assert isinstance(second, RequestError)
    for result, request in ((first, asked[0]), (third, asked[2])):
        assert isinstance(result, Audio)
        np.testing.assert_array_equal(result.samples, voice.say(request.text, request.seed).samples)


def test_a_batch_is_abandoned_when_all_are_cancelled(voice: Synthesizer) -> None:
    asked = [SpeechRequest("One.", 1), SpeechRequest("Two.", 2)]
    assert all(isinstance(result, Cancelled) for result in speak_together(voice, asked, [lambda: True] * 2))
    some = speak_together(voice, asked, [lambda: True, NEVER])
    assert all(isinstance(result, Audio) for result in some)


def test_errors_are_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A caller's mistake, a cancellation, and what is neither and so is logged."""

    class TritonError(SimpleNamespace):
        CANCELLED, INVALID_ARG, INTERNAL = "cancelled", "invalid", "internal"

        def __init__(self, message: str, code: str) -> None:
            super().__init__(message=message, code=code)

    module = SimpleNamespace(TritonError=TritonError, InferenceResponse=lambda error: error)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    assert python_backend.refuse(RequestError("no")).code == "invalid"
    assert python_backend.refuse(Cancelled("gone")).code == "cancelled"
    assert capsys.readouterr().err == ""
    assert vars(python_backend.refuse(MemoryError())) == {"message": "MemoryError", "code": "internal"}
    assert "MemoryError" in capsys.readouterr().err


def test_a_served_voice_obeys_its_configuration(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "3").mkdir(parents=True)
    (tmp_path / "model" / "3" / "voice").symlink_to(tiny_bundle)
    parameters = {"backend": "onnxruntime", "threads": "1", "max_characters": "7", "streams": "2"}
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}}
    arguments = {
        "model_config": json.dumps(config),
        "model_repository": str(tmp_path / "model"),
        "model_version": "3",
        "model_instance_device_id": "0",
    }
    served = ServedVoice.load(arguments)
    assert (served.max_characters, served.streams, served.voice.backend.threads) == (7, 2, 1)  # type: ignore[attr-defined]
