"""WS /v1/audio/speech/stream with a real client: sentences, cancellations, clients that leave, and close codes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tacoglow.gateway import sentence_queue, speech_socket
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .conftest import Expected
from .running import RunningGateway, refuse, running

PATH = "/v1/audio/speech/stream"
PCM = {"type": "session.config", "response_format": "pcm", "stream_audio": True, "sample_rate": 16_000}
DONE = {"type": "input.done"}
LONG_SENTENCE = "one two three four five six seven " * 60


@dataclass
class Session:
    """A client, and what it has received."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)  # of each sentence

    def send(self, *messages: object) -> None:
        for message in messages:
            self.socket.send(json.dumps(message))

    def text(self, text: str) -> None:
        self.send({"type": "input.text", "text": text})

    def receive(self) -> str:
        """Take the next message; returns its type, "" for audio."""
        content = self.socket.recv(timeout=60)
        if isinstance(content, bytes):
            self.audio[-1] += content
            return ""
        self.messages.append(json.loads(content))
        if self.messages[-1]["type"] == "audio.start":
            self.audio.append(b"")
        return str(self.messages[-1]["type"])

    def until(self, kind: str) -> dict[str, Any]:
        while self.receive() != kind:
            pass
        return self.messages[-1]

    def closed(self) -> int:
        """Take everything; returns the close code."""
        while self.receive_unless_closed():
            pass
        code = self.socket.close_code
        assert code is not None
        return code

    def receive_unless_closed(self) -> bool:
        try:
            self.receive()
        except ConnectionClosed:
            return False
        return True

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@contextmanager
def session(gateway: RunningGateway, *first: object, path: str = PATH, **settings: Any) -> Iterator[Session]:
    with connect(f"ws://127.0.0.1:{gateway.port}{path}", **settings) as socket:
        opened = Session(socket)
        opened.send(*first)
        yield opened


def test_sentences_are_the_librarys_speech(gateway: RunningGateway, library_stream: Expected) -> None:
    text = "Dr. Smith left. Was it 3.5 miles? He did not say"
    sentences = ["Dr. Smith left.", "Was it 3.5 miles?", "He did not say"]
    with session(gateway, {**PCM, "seed": 7, "speed": 1.25}) as own:
        for i in range(0, len(text), 3):
            own.text(text[i : i + 3])
        own.send(DONE)
        assert own.closed() == 1000
    expected = [encode(library_stream(sentence, 7, SpeechOptions(rate=1.25)), "int16") for sentence in sentences]
    assert own.audio == expected
    start = {"type": "audio.start", "format": "pcm", "sample_rate": 16_000}
    assert own.of("audio.start") == [
        {**start, "sentence_index": i, "sentence_text": sentence} for i, sentence in enumerate(sentences)
    ]
    assert [(done["sentence_index"], done["total_bytes"], done["error"]) for done in own.of("audio.done")] == [
        (i, len(audio), False) for i, audio in enumerate(expected)
    ]
    assert own.messages[-1] == {"type": "session.done", "total_sentences": 3}


def test_a_sentence_begins_with_its_own_warning(gateway: RunningGateway) -> None:
    with session(gateway, PCM) as own:
        own.text("It is 50% now. It is half. ☃!")
        own.send(DONE)
        assert own.closed() == 1000
    warnings = [start.get("warning", "") for start in own.of("audio.start")]
    assert warnings[0] == "not spoken, this voice has no symbol for: '%'"
    assert (warnings[1], "'☃'" in "".join(warnings[2:])) == ("", True)


@pytest.mark.parametrize("stream_audio", [False, True])
def test_a_sentence_of_which_nothing_is_left_is_a_short_silence(gateway: RunningGateway, stream_audio: bool) -> None:
    with session(gateway, {**PCM, "stream_audio": stream_audio, "trim_silence": True, "volume": 0.0}) as own:
        own.text("Hello.")
        own.send(DONE)
        assert own.closed() == 1000
    assert own.audio == [bytes(2 * 1_600)]  # a tenth of a second


def test_a_sentence_ends_with_its_faults(gateway: RunningGateway) -> None:
    with session(gateway, {**PCM, "gate_threshold": 0.999999}) as own:
        own.text("Hello world.")
        own.send(DONE)
        assert own.closed() == 1000
    (done,) = own.of("audio.done")
    assert done["faults"] == [{"reason": "cut_off", "words": ["Hello", "world."]}]


@pytest.mark.parametrize(("stream_audio", "status"), [(False, 1000), (True, 1008)])
def test_retries_of_sentences_that_are_sent_whole(gateway: RunningGateway, stream_audio: bool, status: int) -> None:
    with session(gateway, {**PCM, "stream_audio": stream_audio, "retries": 2, "attention_window": 5}) as own:
        own.text("Hello.")
        own.send(DONE)
        assert own.closed() == status
    assert [error["param"] for error in own.of("error")] == (["retries"] if stream_audio else [])
    if stream_audio:
        assert "set stream_audio to false" in own.of("error")[0]["message"]


def test_a_session_gets_the_nearest_speed(gateway: RunningGateway) -> None:
    with session(gateway, {**PCM, "speed": 3}) as own:
        own.text("Hello.")
        own.send(DONE)
        assert own.closed() == 1000
    assert own.of("audio.start")[0]["warning"] == "speed: 2, the nearest that voices have to 3"


def test_defaults_are_one_wav_per_sentence(gateway: RunningGateway) -> None:
    with session(gateway, {"type": "session.config"}) as own:
        own.text("Hello. And more.")
        own.send(DONE)
        assert own.until("audio.start")["format"] == "wav"
        whole = own.socket.recv(timeout=60)
        assert own.receive() == "audio.done"
        own.closed()
    assert whole == gateway.speech(input="Hello.", response_format="wav", stream=False).body


def test_a_sentence_is_spoken_before_the_next_one_is_complete(gateway: RunningGateway) -> None:
    with session(gateway, PCM) as own:
        own.text("Hello there. An")
        assert own.until("audio.done")["sentence_index"] == 0
        own.send({"type": "input.flush"})
        assert own.until("audio.done")["sentence_index"] == 1
        assert own.messages[-2]["sentence_text"] == "An"
        own.send(DONE)
        assert own.closed() == 1000


def test_cancel_stops_speaking_and_the_session_goes_on(gateway: RunningGateway) -> None:
    with session(gateway, PCM) as own:
        own.text(LONG_SENTENCE + ". Never spoken. Nor this")
        own.until("audio.start")
        cancelled = time.monotonic()
        own.send({"type": "input.cancel"})
        assert own.until("audio.done")["cancelled"]
        gateway.wait_until_idle()
        assert time.monotonic() - cancelled < 0.3
        own.text("Hello.")
        own.send(DONE)
        assert own.closed() == 1000
    assert [start["sentence_text"] for start in own.of("audio.start")] == [LONG_SENTENCE.strip() + " .", "Hello."]
    assert own.messages[-1]["total_sentences"] == 2


def test_lost_client_frees_its_row(gateway: RunningGateway) -> None:
    before = gateway.scheduler.metrics().cancelled
    with session(gateway, PCM) as own:
        own.text(LONG_SENTENCE)
        own.send({"type": "input.flush"})
        own.until("audio.start")
        left = time.monotonic()
        own.socket.socket.close()
    gateway.wait_until_idle()
    assert time.monotonic() - left < 0.3
    assert gateway.scheduler.metrics().cancelled == before + 1


@pytest.mark.parametrize(
    ("first", "param"),
    [
        ("{", None),
        (DONE, "type"),
        ({**PCM, "voice": "nobody"}, "voice"),
        ({**PCM, "speed": 9}, "speed"),
        ({**PCM, "stream_audio": 1}, "stream_audio"),
        ({**PCM, "split_granularity": "clause"}, "split_granularity"),
        ({**PCM, "response_format": "wma"}, "response_format"),
    ],
)
def test_bad_first_message(gateway: RunningGateway, first: object, param: str | None) -> None:
    with session(gateway) as own:
        own.socket.send(first if isinstance(first, str) else json.dumps(first))
        assert own.closed() == 1008
    assert [message["type"] for message in own.messages] == ["error"]
    assert own.messages[0]["param"] == param


def test_later_bad_messages_are_told_and_left_out(gateway: RunningGateway) -> None:
    with session(gateway, PCM) as own:
        own.socket.send(b"\x00")
        own.send("text", {"type": "input.text", "text": 5}, {"type": "input.texts"})
        own.text("x" * 3_001)
        own.text("Hello.")
        own.send(DONE, {"type": "input.text", "text": "Too late."})
        assert own.closed() == 1000
    codes = [error["code"] for error in own.of("error")]
    assert codes == [
        "invalid_json",
        "invalid_json",
        "invalid_value",
        "invalid_value",
        "input_too_long",
        "invalid_value",
    ]
    assert [start["sentence_text"] for start in own.of("audio.start")] == ["Hello."]


def test_key_and_origin(new_scheduler: Callable[[], Scheduler], capfd: pytest.CaptureFixture[str]) -> None:
    with running(new_scheduler(), api_key="secret", root_path="/voice", cors=("http://page.example",)) as gateway:
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)
        bearer = {"Authorization": "Bearer secret"}
        allowed: list[dict[str, Any]] = [
            {"additional_headers": bearer},
            {"path": PATH + "?api_key=secret"},
            {"path": "/voice" + PATH + "?api_key=secret", "origin": "http://page.example"},
            {"additional_headers": bearer, "origin": f"http://127.0.0.1:{gateway.port}"},
        ]
        for settings in allowed:
            with session(gateway, PCM, **settings) as own:
                own.text("Hi.")
                own.send(DONE)
                assert own.closed() == 1000
        refused: list[dict[str, Any]] = [
            {},
            {"path": PATH + "?api_key=wrong"},
            {"additional_headers": {"Authorization": "Bearer wrong"}},
            {"additional_headers": bearer, "origin": "http://other.example"},
        ]
        for settings in refused:
            with session(gateway, **settings) as own:
                assert own.closed() == 1008
        logged = capfd.readouterr().err
        assert "accepted" in logged
        assert "secret" not in logged


def test_overload_and_failure(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ArithmeticError("planted")

    with session(gateway, PCM) as own:
        with monkeypatch.context() as patch:
            patch.setattr(gateway.scheduler, "admit", refuse)
            own.text("Hello.")
            own.send(DONE)
            assert own.closed() == 1013
        assert own.messages[-1]["code"] == "overloaded"
    with session(gateway, PCM) as own:
        with monkeypatch.context() as patch:
            patch.setattr(gateway.scheduler, "submit", fail)
            own.text("Hello.")
            own.send(DONE)
            assert own.closed() == 1011
        assert own.messages[-1]["code"] == "synthesis_failed"


def test_silent_sessions_are_closed(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_socket, "CONFIG_SECONDS", 0.1)
    monkeypatch.setattr(sentence_queue, "IDLE_SECONDS", 0.2)
    with session(gateway) as own:
        assert own.closed() == 1008
    with session(gateway, PCM) as own:
        own.text(LONG_SENTENCE)
        own.send({"type": "input.flush"})  # speaking takes longer, and is no silence
        own.until("audio.done")
        assert own.closed() == 1008
    assert own.messages[-1]["code"] == "session_timeout"
