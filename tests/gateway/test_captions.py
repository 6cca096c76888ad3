"""Times of words: POST /dev/captioned_speech, and events of POST /v1/audio/speech that ask for them."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.gateway.analysis import describe
from tacoglow.gateway.encoding import Encoding, SegmentEncoder, encode_segments
from tacoglow.gateway.events import captioned_lines
from tacoglow.gateway.metrics import Metrics
from tacoglow.gateway.request import ParsedRequest
from tacoglow.gateway.speaking import SpokenRequest
from tacoglow.gateway.voices import Voice
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.audio import Utterance
from tacoglow.runtime.scheduling.handle import SpeechHandle

from .running import RunningGateway
from .test_speech import decode

# Several pieces, a pause before the first one, a long one that is cut, and words whose spelling is not what is spoken.
TEXT = "[pause 0.2s] Dr. Smith paid $5, twice! [pause 0.3s] " + "Then he said nothing else at all, for a while. " * 5
OPTIONS = SpeechOptions(rate=1.3, sentence_silence=0.4, trim_silence=True)
FIELDS = {
    "input": TEXT,
    "seed": 4,
    "speed": 1.3,
    "sentence_silence": 0.4,
    "trim_silence": True,
    "response_format": "pcm",
}
RATE = 16_000  # Hz, the tiny voice's
PCM: Any = SimpleNamespace(encoding=Encoding("pcm", RATE))  # settings of a request
STREAMED = ParsedRequest(TEXT, PCM, timestamps=True)
Times = list[dict[str, Any]]


@pytest.fixture(scope="module")
def words(tiny_bundle: Path) -> Times:
    """The library's times for TEXT, as JSON has them."""
    audio = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 4, OPTIONS)
    assert len(audio.utterances) > 3
    return [{"word": word.text, "start_time": word.start, "end_time": word.end} for word in audio.words]


def lines_of(gateway: RunningGateway, **fields: Any) -> list[dict[str, Any]]:
    answer = gateway.request("/dev/captioned_speech", fields)
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.endswith(b"\n")
    lines: list[dict[str, Any]] = [json.loads(line) for line in answer.body.decode().splitlines()]
    assert all(
        set(line) - {"analysis", "warning", "faults"} == {"audio", "audio_format", "timestamps"} for line in lines
    )
    return lines


def joined(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(line["audio"]) for line in lines)


@pytest.mark.parametrize("stream", [True, False])
def test_times_are_those_of_the_library(gateway: RunningGateway, words: Times, stream: bool) -> None:
    lines = lines_of(gateway, **FIELDS, stream=stream)
    assert [word for line in lines for word in line["timestamps"]] == words
    assert joined(lines) == gateway.speech(**FIELDS).body
    assert (len(lines) > 3) == stream
    written = TEXT.replace("[pause 0.2s] ", "").replace("[pause 0.3s] ", "").split()
    assert [word["word"] for word in words] == written
    assert all(math.isfinite(word["start_time"]) for word in words)


@pytest.mark.parametrize("fields", [{}, {"return_analysis": True}])
def test_arrays_of_whole_speech_do_not_pile_up(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, fields: dict[str, bool]
) -> None:
    """Its bytes come at the end; alignments and mels of an hour would take half a gigabyte until then."""
    kept, finish = [], SegmentEncoder.finish

    def count() -> int:
        gc.collect()
        return sum(type(each) is Utterance for each in gc.get_objects())

    def note(encoder: SegmentEncoder) -> bytes:
        kept.append(count())
        return finish(encoder)

    before = count()
    monkeypatch.setattr(SegmentEncoder, "finish", note)
    (line,) = lines_of(gateway, input=TEXT * 4, stream=False, response_format="wav", **fields)
    assert len(line["timestamps"]) == 4 * len(TEXT.replace("[pause 0.2s]", "").replace("[pause 0.3s]", "").split())
    assert kept[0] - before <= 2  # of 28


def test_nothing_is_described_after_an_error(gateway: RunningGateway) -> None:
    handle, described = SpeechHandle(RATE, (), lambda: None), []

    def note(voice: Voice, utterance: Utterance) -> Any:
        described.append(utterance)

    spoken = SpokenRequest(Voice.embedded("tiny", gateway.scheduler), handle, Metrics(), note)
    utterance = SimpleNamespace(token_ids=[1], gate=[1.0], quality=SimpleNamespace(faults=()), stop_reason="gate")
    handle.put([np.zeros(1, np.float32)], [cast(Any, utterance)])
    handle.fail(RuntimeError("planted"))

    async def take() -> None:
        async for _ in spoken.segments():
            pass

    with pytest.raises(RuntimeError, match="planted"):
        asyncio.run(take())
    assert described == []


def test_words_arrive_while_the_rest_is_spoken(gateway: RunningGateway, tiny_bundle: Path) -> None:
    """The scheduler is played here, so that a piece is complete only when the line before it has arrived."""
    audio = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, 4, OPTIONS)
    handle = SpeechHandle(RATE, (), lambda: None)
    spoken = SpokenRequest(Voice.embedded("tiny", gateway.scheduler), handle, Metrics(), partial(describe, STREAMED))
    chunks = encode_segments(spoken.segments(), Encoding("pcm", RATE), RATE)

    async def answer() -> list[dict[str, Any]]:
        found, lines = [], captioned_lines(spoken, chunks, STREAMED)
        *earlier, last = audio.utterances
        for utterance in earlier:
            handle.put([utterance.samples], [utterance])
            found.append(json.loads(await anext(lines)))
        handle.finish([last.samples], [last], audio)
        return found + [json.loads(line) async for line in lines]

    lines = asyncio.run(answer())
    with_words = [i for i, line in enumerate(lines) if line["timestamps"]]
    assert len(with_words) > 3
    assert with_words == list(range(len(audio.utterances)))  # each piece's in its own line
    heard = len(joined(lines[: with_words[0] + 1])) / 2 / RATE
    assert lines[with_words[0]]["timestamps"][-1]["end_time"] <= heard + 0.5  # the pause before the piece


def test_formats_and_default(gateway: RunningGateway) -> None:
    lines = lines_of(gateway, input="Hello.")
    assert {line["audio_format"] for line in lines} == {"audio/mpeg"}
    assert joined(lines) == gateway.speech(input="Hello.").body
    flac = lines_of(gateway, input="Hello.", response_format="flac")
    assert joined(flac).startswith(b"fLaC")


@pytest.mark.parametrize("stream", [True, False])
def test_the_first_line_warns(gateway: RunningGateway, stream: bool) -> None:
    first, *others = lines_of(gateway, input="Up ☃. " + TEXT, speed=4, stream=stream)
    assert first["warning"] == (
        "speed: 2, the nearest that voices have to 4; not spoken, this voice has no symbol for: '☃'"
    )
    assert bool(others) == stream
    assert not any("warning" in line for line in [*others, *lines_of(gateway, input=TEXT, stream=stream)])


@pytest.mark.parametrize("audio_format", ["mp3", "aac", "opus", "flac", "wav"])
@pytest.mark.parametrize("sample_rate", [None, 24_000, 48_000])
def test_words_are_heard_at_their_times_in_every_format(
    gateway: RunningGateway, audio_format: str, sample_rate: int | None
) -> None:
    """The decoded audio is laid over the voice's own samples: the words' times are late by as much as it is."""
    fields = {"input": "Hello there. Who is it?", "response_format": audio_format, "seed": 1}
    fields |= {"sample_rate": sample_rate} if sample_rate else {}
    lines = lines_of(gateway, **fields)
    decoded, rate = decode(joined(lines))
    reference = lines_of(gateway, **{**fields, "response_format": "pcm", "sample_rate": rate})
    samples = np.frombuffer(joined(reference), "<i2") / 32768
    spectrum = np.fft.rfft(decoded, 1 << 20) * np.fft.rfft(samples, 1 << 20).conj()
    late = int(np.fft.irfft(spectrum)[:8192].argmax()) / rate
    heard, spoken = (
        np.array([word["start_time"] for line in answer for word in line["timestamps"]])
        for answer in (lines, reference)
    )
    np.testing.assert_allclose(heard - spoken, [late] * 5, atol=0.001)


def test_times_are_an_empty_list_if_there_are_none(gateway: RunningGateway) -> None:
    assert all(line["timestamps"] == [] for line in lines_of(gateway, input="Hello.", return_timestamps=False))
    assert all(line["timestamps"] == [] for line in lines_of(gateway, input="🙂"))


def test_events_have_times_only_if_asked(gateway: RunningGateway, words: Times) -> None:
    def events(**more: Any) -> list[dict[str, Any]]:
        body = gateway.speech(**FIELDS, stream_format="sse", **more).body.decode()
        return [json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line]

    plain, timed = events(), events(timestamps=True)
    assert {event["type"] for event in plain} == {"speech.audio.delta", "speech.audio.done"}
    own = [event for event in timed if event["type"] == "speech.audio.timestamps"]
    assert [word for event in own for word in event["timestamps"]] == words
    assert timed[-1]["type"] == "speech.audio.done"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/dev/captioned_speech", {"return_timestamps": 1}, "return_timestamps"),
        ("/dev/captioned_speech", {"stream_format": "sse"}, "stream_format"),
        ("/v1/audio/speech", {"timestamps": True}, "timestamps"),
        ("/v1/audio/speech", {"timestamps": "yes", "stream_format": "sse"}, "timestamps"),
    ],
)
def test_invalid_fields(gateway: RunningGateway, path: str, fields: dict[str, Any], param: str) -> None:
    answer = gateway.request(path, {"input": "Hello.", **fields})
    assert (answer.status, answer.error["param"]) == (400, param)


def test_words_that_come_after_the_last_bytes_have_a_line_of_their_own(
    gateway: RunningGateway, tiny_bundle: Path
) -> None:
    audio = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say("Hello.")
    spoken = SpokenRequest(Voice.embedded("tiny", gateway.scheduler), None, Metrics())

    async def chunks() -> Any:
        yield b"samples"
        spoken.described = [
            describe(STREAMED, spoken.voice, each) for each in audio.utterances
        ]  # with an empty segment

    async def lines() -> list[Any]:
        return [json.loads(line) async for line in captioned_lines(spoken, chunks(), STREAMED)]

    first, last = asyncio.run(lines())
    assert (first["timestamps"], last["audio"]) == ([], "")
    assert [word["word"] for word in last["timestamps"]] == ["Hello."]


def test_analysis_is_of_the_speech_that_is_heard(gateway: RunningGateway, tiny_bundle: Path) -> None:
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    audio, threshold = voice.say(TEXT, 4, OPTIONS), voice.manifest.decoder.gate_threshold
    lines = lines_of(gateway, **FIELDS, return_analysis=True)
    analyses = [analysis for line in lines for analysis in line["analysis"]]
    assert len(analyses) == len(audio.utterances)
    for analysis, utterance in zip(analyses, audio.utterances, strict=True):
        shapes = {"mel": (-1, analysis["mel_bands"]), "alignment": (-1, len(analysis["tokens"])), "gate": (-1,)}
        arrays = {
            name: np.frombuffer(base64.b64decode(analysis[name]), np.uint8).reshape(shape) / 255
            for name, shape in shapes.items()
        }
        np.testing.assert_allclose(arrays["alignment"], utterance.alignment, atol=1 / 500)
        np.testing.assert_allclose(arrays["gate"], utterance.gate, atol=1 / 500)
        mel = arrays["mel"] * np.ptp(utterance.mel) + utterance.mel.min()
        np.testing.assert_allclose(mel, utterance.mel.T, atol=np.ptp(utterance.mel) / 300)
        assert analysis["start_time"] == utterance.start / RATE
        assert analysis["stop_reason"] == utterance.stop_reason
        assert (analysis["fired"] is not None) == (utterance.stop_reason == "gate")
        assert analysis["fired"] is None or analysis["fired"] > threshold
