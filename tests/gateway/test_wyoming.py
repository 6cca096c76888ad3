"""The Wyoming protocol with its own client, in Home Assistant's order of events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from tacoglow.gateway import sentence_queue
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .conftest import Expected
from .running import RunningGateway, refuse, running

RATE = 16_000
TEXT = "The gate was open. It is shut now."


def talk(gateway: RunningGateway, *events: Any, until: str) -> list[Event]:
    """Send events, and return what comes until an event of that type, or until the end of the connection."""

    async def session() -> list[Event]:
        received: list[Event] = []
        async with AsyncTcpClient("127.0.0.1", gateway.wyoming_port) as client:
            for event in events:
                await client.write_event(event if isinstance(event, Event) else event.event())
            while event := await asyncio.wait_for(client.read_event(), 60):
                received.append(event)
                if event.type == until:
                    break
        return received

    return asyncio.run(session())


def audio_of(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if event.type == "audio-chunk")


def types_of(events: list[Event]) -> list[str]:
    """Types in order, audio chunks once."""
    types = [event.type for event in events]
    return [kind for i, kind in enumerate(types) if kind != "audio-chunk" or types[i - 1] != kind]


def test_what_is_not_spoken_is_logged(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    talk(gateway, Synthesize("It is ☃ now."), until="audio-stop")
    assert caplog.messages == ["tiny: not spoken, this voice has no symbol for: '☃'"]


def test_describe_tells_of_one_program_with_all_voices(gateway: RunningGateway) -> None:
    (answer,) = talk(gateway, Describe(), until="info")
    (program,) = Info.from_event(answer).tts
    assert program.supports_synthesize_streaming
    assert program.installed
    (voice,) = program.voices
    assert (voice.name, voice.languages, voice.installed) == ("tiny", ["en-US"], True)
    assert voice.attribution.name


def test_a_text_is_the_librarys_speech(gateway: RunningGateway, library_stream: Expected) -> None:
    events = talk(gateway, Synthesize(TEXT, SynthesizeVoice("tiny")), until="audio-stop")
    assert types_of(events) == ["audio-start", "audio-chunk", "audio-stop"]
    start = AudioStart.from_event(events[0])
    assert (start.rate, start.width, start.channels) == (RATE, 2, 1)
    assert audio_of(events) == encode(library_stream(TEXT), "int16")


def test_the_servers_attention_window(new_scheduler: Callable[[], Scheduler], library_stream: Expected) -> None:
    """Home Assistant cannot say which one it wants."""
    with running(new_scheduler(), attention_window=1) as gateway:
        narrow = audio_of(talk(gateway, Synthesize(TEXT), until="audio-stop"))
        asked = gateway.speech(input=TEXT, response_format="pcm", sample_rate=RATE, attention_window=9)
    expected = [encode(library_stream(TEXT, options=SpeechOptions(attention_window=n)), "int16") for n in (1, 9, None)]
    assert [narrow, asked.body] == expected[:2]
    assert len(set(expected)) == 3


def test_home_assistants_stream(gateway: RunningGateway, library_stream: Expected) -> None:
    """It writes the whole text into the stream too, and waits for synthesize-stopped."""
    parts = ["The ga", "te was open. I", "t is shut now."]
    chunks = [SynthesizeChunk(part) for part in parts]
    whole = Synthesize(TEXT, SynthesizeVoice("tiny"))
    events = talk(
        gateway, SynthesizeStart(SynthesizeVoice("tiny")), *chunks, whole, SynthesizeStop(), until="synthesize-stopped"
    )
    assert types_of(events) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    first, second = (library_stream(sentence) for sentence in ("The gate was open.", "It is shut now."))
    pause = np.zeros(int(0.35 * RATE), np.float32)  # after a sentence, as within a text
    assert audio_of(events) == encode(np.concatenate([first, pause, second]), "int16")


def test_a_sentence_is_spoken_before_the_next_one_is_complete(gateway: RunningGateway) -> None:
    events = talk(gateway, SynthesizeStart(), SynthesizeChunk("The gate was open. And"), until="audio-chunk")
    assert types_of(events) == ["audio-start", "audio-chunk"]


@pytest.mark.parametrize("text", ["", "  ", "😀"])
def test_nothing_to_speak(gateway: RunningGateway, text: str) -> None:
    events = talk(gateway, Synthesize(text), until="audio-stop")
    assert (events[0].type, events[-1].type) == ("audio-start", "audio-stop")
    assert not np.frombuffer(audio_of(events), "<i2").any()


def test_a_second_text_on_the_same_connection(gateway: RunningGateway, library_stream: Expected) -> None:
    both = talk(
        gateway,
        Synthesize("Open."),
        SynthesizeStart(),
        SynthesizeChunk("Shut."),
        SynthesizeStop(),
        until="synthesize-stopped",
    )
    pair = ["audio-start", "audio-chunk", "audio-stop"]
    assert types_of(both) == [*pair, *pair, "synthesize-stopped"]
    assert audio_of(both) == encode(np.concatenate([library_stream("Open."), library_stream("Shut.")]), "int16")


def test_other_events(gateway: RunningGateway) -> None:
    unknown = [
        Event("select-program", {"name": "tacoglow"}),
        Event("audio-chunk", {"rate": 1}, b"xx"),
        SynthesizeStop(),
    ]
    (answer,) = talk(gateway, *unknown, Ping("are you there?"), until="pong")
    assert answer.data == {"text": "are you there?"}


@pytest.mark.parametrize(
    ("voice", "warning"),
    [
        ({"name": "nobody", "language": "en_US"}, "no voice 'nobody'; tiny speaks instead"),
        ({"language": "de-DE"}, "no voice 'de-DE'; tiny speaks instead"),
        ({"language": "en"}, None),
        ({"name": "ANNA"}, None),
        ({}, None),
    ],
)
def test_unknown_voices_are_replaced(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, voice: dict[str, str], warning: str | None
) -> None:
    with caplog.at_level(logging.WARNING):
        events = talk(gateway, Event("synthesize", {"text": "Open.", "voice": voice}), until="audio-stop")
    assert audio_of(events)
    assert [record.getMessage() for record in caplog.records] == ([f"wyoming: {warning}"] if warning else [])


def test_a_client_that_leaves_frees_its_row(gateway: RunningGateway) -> None:
    before = gateway.scheduler.metrics().cancelled
    talk(gateway, Synthesize("one two three four five six seven " * 60), until="audio-chunk")
    gateway.wait_until_idle(2.0)
    assert gateway.scheduler.metrics().cancelled == before + 1


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"{]\n", "event: expected a JSON object"),
        (b"[]\n", "event: expected a JSON object, got an array"),
        (b'{"type": 5}\n', "type: expected a string"),
        (b'{"type": "synthesize", "data": {"text": 5}}\n', "text: expected a string"),
        (b'{"type": "synthesize", "data": {"text": "a", "voice": 5}}\n', "voice: expected"),
        (b'{"type": "synthesize", "payload_length": 99999999999}\n', "payload_length: expected 0 to"),
        (b'{"type": "synthesize", "data_length": -1}\n', "data_length: expected 0 to"),
        (b"x" * 200_000, "event: expected a line of at most 65536 bytes"),
        (b'{"type": "synthesize", "data": {"text": "%s"}}\n' % (b"a" * 3_001), "text: expected at most 3000"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_event_gets_an_error_and_ends(gateway: RunningGateway, sent: bytes, reason: str) -> None:
    async def session() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", gateway.wyoming_port) as client:
            writer: Any = client._writer
            writer.write(sent)
            received = []
            while event := await asyncio.wait_for(client.read_event(), 30):
                received.append(event)
            return received

    (error,) = asyncio.run(session())
    assert error.type == "error"
    assert error.data["text"].startswith(reason)
    assert gateway.speech(input="Hi.").status == 200


def test_a_failure_is_told_and_ends(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.scheduler, "admit", refuse)
    events = talk(gateway, Synthesize("Open."), until="never")
    assert [event.type for event in events] == ["audio-start", "error"]
    assert "the first audio would come in about" in events[-1].data["text"]


def test_silent_connections_are_closed(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_queue, "IDLE_SECONDS", 0.2)
    started = time.monotonic()
    (error,) = talk(gateway, until="never")
    assert error.data["text"] == "no event for 0.2 s; the connection ends"
    assert time.monotonic() - started < 5.0


def test_an_event_may_come_slowly_while_a_text_is_spoken(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_queue, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(sentence_queue.SentenceQueue, "is_idle", False)  # as if one were: speech has no certain length

    async def session() -> str:
        async with AsyncTcpClient("127.0.0.1", gateway.wyoming_port) as client:
            writer: Any = client._writer
            writer.write(b'{"type": "ping", "data_length": 16}\n{"text": ')
            await asyncio.sleep(0.5)
            writer.write(b'"slow"}')
            while event := await asyncio.wait_for(client.read_event(), 60):
                if event.type in ("pong", "error"):
                    return f"{event.type}: {event.data['text']}"
        return "the end"

    assert asyncio.run(session()) == "pong: slow"


def test_what_has_come_is_spoken_before_the_end(
    new_scheduler: Callable[[], Scheduler], library_stream: Expected
) -> None:
    text = "one two three four five six seven " * 20
    with running(new_scheduler()) as gateway:

        async def session() -> bytes:
            received = []
            async with AsyncTcpClient("127.0.0.1", gateway.wyoming_port) as client:
                await client.write_event(Synthesize(text).event())
                while event := await asyncio.wait_for(client.read_event(), 60):
                    received.append(event)
                    gateway.stop()
                    if event.type == "audio-stop":
                        return audio_of(received)
            return b""

        assert asyncio.run(session()) == encode(library_stream(text), "int16")
