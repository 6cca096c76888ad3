"""POST /v1/audio/speech through OpenAI's own client: bytes of every format, events, errors, and clients that leave."""

from __future__ import annotations

import base64
import http.client
import io
import json
import struct
import time
import wave
from collections.abc import Callable, Iterator
from typing import Any, get_args

import av
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.gateway import response, speaking
from tacoglow.gateway.encoding import StreamFormat
from tacoglow.gateway.voices import whole_segments
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.wav_writer import encode
from tacoglow.runtime.scheduling.scheduler import Scheduler

from .conftest import Expected
from .running import POST, RunningGateway, running

TEXT = "Hello world, I missed you."
LONG_TEXT = "One two three four five six. " * 60
RATE = 16_000  # Hz, of the tiny voice
# Samples at the voice's rate by which a codec lengthens speech at most, without an edit list that says so.
PADDING = {"mp3": 3 * 1152, "opus": 960, "aac": 3 * 1024, "flac": 0, "wav": 0}
BEGINNINGS = {"mp3": b"\xff", "opus": b"OggS", "aac": b"\xff", "flac": b"fLaC", "wav": b"RIFF"}


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def decode(content: bytes) -> tuple[NDArray[np.float32], int]:
    """The samples of an audio file and their rate in Hz, by FFmpeg."""
    with av.open(io.BytesIO(content)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono")
        frames = [resampled for frame in container.decode(audio=0) for resampled in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav"])
def test_whole_length_in_every_format(client: openai.OpenAI, library_stream: Expected, audio_format: Any) -> None:
    answer = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="alloy", response_format=audio_format, extra_body={"seed": 5}
    )
    expected = library_stream(TEXT, 5)
    assert answer.content.startswith(BEGINNINGS[audio_format])
    samples, rate = decode(answer.content)
    assert rate == (48_000 if audio_format == "opus" else RATE)  # Opus is always decoded at 48 kHz
    assert 0 <= len(samples) * RATE / rate - len(expected) <= PADDING[audio_format] + 1
    assert answer.response.headers["x-request-id"]
    assert answer.response.headers["x-tacoglow-seed"] == "5"
    if audio_format in ("flac", "wav"):
        assert np.array_equal(np.rint(samples * 32768), np.frombuffer(encode(expected, "int16"), "<i2"))


@pytest.mark.parametrize(("name", "media"), [("ulaw", "PCMU"), ("g711_alaw", "PCMA")])
def test_g711_for_telephones(gateway: RunningGateway, library_stream: Expected, name: str, media: str) -> None:
    answer = gateway.speech(input=TEXT, seed=5, response_format=name)
    assert answer.headers["content-type"] == f"audio/{media}"
    expected = len(library_stream(TEXT, 5)) * 8000 / RATE  # a byte per sample
    assert 0 <= len(answer.body) - expected <= 64
    refused = gateway.speech(input=TEXT, response_format=name, sample_rate=16_000)
    assert refused.status == 400
    assert "expected one of 8000 Hz" in refused.body.decode()


def test_mp3_by_default(gateway: RunningGateway) -> None:
    answer = gateway.speech(input=TEXT)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-disposition"] == 'inline; filename="speech.mp3"'
    assert "content-encoding" not in answer.headers


def test_pcm_is_at_the_rate_that_players_assume(client: openai.OpenAI, library_stream: Expected) -> None:
    answer = client.audio.speech.create(input=TEXT, model="tts-1", voice="alloy", response_format="pcm")
    assert answer.response.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
    assert abs(len(answer.content) / 2 / 24_000 - len(library_stream(TEXT)) / RATE) < 0.002


def test_pcm_at_the_voices_rate_is_the_librarys(gateway: RunningGateway, library_stream: Expected) -> None:
    answer = gateway.speech(input=TEXT, response_format="pcm", sample_rate=RATE, seed=3, speed=1.25)
    assert answer.body == encode(library_stream(TEXT, 3, SpeechOptions(rate=1.25)), "int16")


def test_streamed_wav_has_one_header_and_nothing_after_its_samples(
    gateway: RunningGateway, library_stream: Expected
) -> None:
    answer = gateway.speech(input=TEXT, response_format="wav", sigma=0.3, gate_threshold=0.6)
    expected = encode(library_stream(TEXT, 0, SpeechOptions(sigma=0.3, gate_threshold=0.6)), "int16")
    assert answer.body[44:] == expected
    assert struct.unpack("<I", answer.body[4:8]) == struct.unpack("<I", answer.body[40:44]) == (0xFFFFFFFF,)
    assert answer.headers["transfer-encoding"] == "chunked"


def test_whole_wav_is_exact(gateway: RunningGateway, library_stream: Expected, voice: Synthesizer) -> None:
    answer = gateway.speech(input=TEXT, response_format="wav", stream=False)
    assert int(answer.headers["content-length"]) == len(answer.body)
    with wave.open(io.BytesIO(answer.body)) as file:
        assert file.getnframes() == len(library_stream(TEXT))
        assert file.getframerate() == RATE
    segments = list(voice.stream(TEXT, 0, whole_segments(voice.manifest)))
    assert answer.body[44:] == encode(np.concatenate(segments), "int16")
    assert len(segments) < len(list(voice.stream(TEXT)))


def test_events_carry_one_stream(gateway: RunningGateway) -> None:
    fields = {"input": TEXT, "response_format": "wav", "seed": 2}
    answer = gateway.speech(**fields, stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.body.decode().split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == gateway.speech(**fields).body
    assert events[-1]["type"] == "speech.audio.done"
    usage = events[-1]["usage"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"] > usage["input_tokens"] > 0


def test_nothing_speakable_is_a_short_silence(gateway: RunningGateway) -> None:
    answer = gateway.speech(input="🙂", response_format="pcm", sample_rate=RATE)
    assert answer.body == bytes(2 * RATE // 10)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("audio_format", get_args(StreamFormat))
def test_speech_of_which_nothing_is_left_is_a_short_silence(
    gateway: RunningGateway, audio_format: str, stream: bool
) -> None:
    """As of "!" once its silence is trimmed: it is sent as the silence of an emoji is."""
    fields = {"response_format": audio_format, "stream": stream}
    answer = gateway.speech(input="Hi.", trim_silence=True, volume=0.0, **fields)
    assert answer.status == 200
    assert len(answer.body) == len(gateway.speech(input="🙂", **fields).body) > 0  # Opus has a serial number
    assert answer.headers["x-tacoglow-warning"] == "no speech is left"


def test_events_and_captions_of_a_short_silence(gateway: RunningGateway) -> None:
    silent = {"input": "Hi.", "trim_silence": True, "volume": 0.0, "response_format": "pcm", "sample_rate": RATE}
    delta, done = gateway.speech(**silent, stream_format="sse").body.decode().split("\n\n")[:2]
    assert base64.b64decode(json.loads(delta.removeprefix("data: "))["audio"]) == bytes(2 * RATE // 10)
    done = json.loads(done.removeprefix("data: "))
    assert (done["type"], done["warning"]) == ("speech.audio.done", "no speech is left")
    (line,) = gateway.request("/dev/captioned_speech", silent).body.splitlines()
    assert base64.b64decode(json.loads(line)["audio"]) == bytes(2 * RATE // 10)
    assert json.loads(line)["warning"] == "no speech is left"
    assert [word["word"] for word in json.loads(line)["timestamps"]] == ["Hi."]


@pytest.mark.parametrize(
    ("fields", "error", "param", "code"),
    [
        ({"input": " "}, openai.BadRequestError, "input", "input_empty"),
        ({"input": "x" * 3_001}, openai.BadRequestError, "input", "input_too_long"),
        ({"voice": "nobody"}, openai.BadRequestError, "voice", "voice_not_found"),
        ({"voice": {"id": "nobody"}}, openai.BadRequestError, "voice", "voice_not_found"),
        ({"model": "whisper"}, openai.NotFoundError, "model", "model_not_found"),
        ({"speed": 4.1}, openai.BadRequestError, "speed", "invalid_value"),
        ({"speed": 0.2}, openai.BadRequestError, "speed", "invalid_value"),
        ({"response_format": "wma"}, openai.BadRequestError, "response_format", "invalid_value"),
        ({"stream_format": "ws"}, openai.BadRequestError, "stream_format", "invalid_value"),
        ({"extra_body": {"seed": -1}}, openai.BadRequestError, "seed", "invalid_value"),
        ({"extra_body": {"sample_rate": 9_000}}, openai.BadRequestError, "sample_rate", "invalid_value"),
    ],
)
def test_errors_that_the_client_raises(
    client: openai.OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], param: str, code: str
) -> None:
    with pytest.raises(error) as raised:
        client.audio.speech.create(**{"input": TEXT, "model": "tts-1", "voice": "alloy", **fields})
    assert (raised.value.param, raised.value.code) == (param, code)
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def test_voices_by_every_name(gateway: RunningGateway) -> None:
    """Kokoro-FastAPI#57, #248: an alias is a name everywhere."""
    for fields in (
        {"voice": "TINY"}, {"voice": {"id": "tiny"}}, {"voice": "anna"}, {"model": "tiny"}, {"model": "anna"},
        {"model": "ANNA", "voice": "alloy"}, {"voice": {"id": "Anna"}, "model": "tts-1"}, {"voice": "shimmer"},
        {"model": "gpt-4o-mini-tts"}, {"voice": "tiny", "model": "whatever"}, {"model": None, "instructions": "None"},
    ):  # fmt: skip
        answer = gateway.speech(input="Hi.", response_format="pcm", **fields)
        assert (answer.status, answer.headers["x-tacoglow-voice"]) == (200, "tiny"), fields


def test_unknown_fields_are_named(gateway: RunningGateway) -> None:
    answer = gateway.speech(input="Hi.", lang_code="a", **{"bad\r\nname": 1})
    assert answer.headers["x-tacoglow-ignored"] == "lang_code"


def test_client_that_leaves_frees_its_row(gateway: RunningGateway, client: openai.OpenAI) -> None:
    before = gateway.scheduler.metrics().cancelled
    with client.audio.speech.with_streaming_response.create(
        input=LONG_TEXT, model="tts-1", voice="alloy", response_format="pcm"
    ) as answer:
        next(answer.iter_bytes(64))
    gateway.wait_until_idle()
    assert gateway.scheduler.metrics().cancelled == before + 1


def test_client_that_leaves_before_the_first_audio(gateway: RunningGateway) -> None:
    before = gateway.scheduler.metrics().cancelled
    body = json.dumps({"input": LONG_TEXT, "response_format": "flac"}).encode()  # FLAC is sent at the end
    with gateway.connect() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        while not gateway.scheduler.metrics().active:
            time.sleep(0.005)
    gateway.wait_until_idle()
    assert gateway.scheduler.metrics().cancelled == before + 1


def test_failure_after_the_first_audio_breaks_the_connection(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = speaking.speak

    async def failing(*arguments: Any) -> Any:
        spoken = await accepted(*arguments)
        original = spoken.segments

        async def segments() -> Any:
            async for samples in original():
                yield samples
                raise ArithmeticError("planted")

        monkeypatch.setattr(spoken, "segments", segments)
        return spoken

    monkeypatch.setattr(response, "speak", failing)
    with pytest.raises(http.client.IncompleteRead):
        gateway.speech(input=TEXT, response_format="pcm")
    answer = gateway.speech(input=TEXT, response_format="wav", stream=False)
    assert (answer.status, answer.error["code"]) == (500, "synthesis_failed")
    assert answer.headers["x-should-retry"] == "false"
    last = gateway.speech(input=TEXT, response_format="wav", stream_format="sse").body.decode().split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "synthesis_failed"


def post(gateway: RunningGateway, **fields: Any) -> tuple[int, dict[str, str], bytes]:
    host = gateway.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    body = json.dumps({"voice": "alloy", "response_format": "wav", "stream": False, **fields})
    connection.request("POST", "/v1/audio/speech", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_ssml_by_its_beginning_and_by_the_field(gateway: RunningGateway) -> None:
    document = "<speak>One <break time='1s'/><emphasis>two</emphasis>.</speak>"
    status, headers, by_beginning = post(gateway, input=document)
    assert status == 200
    assert headers["x-tacoglow-warning"] == "ssml: <emphasis> is not known; its text is spoken"
    assert post(gateway, input=document, ssml=True)[2] == by_beginning
    assert post(gateway, input="One [pause 1s] two.")[2] == by_beginning
    status, _, body = post(gateway, input="<speak>One & two</speak>")
    assert status == 400
    assert json.loads(body)["error"]["param"] == "input"
    assert "ssml: line 1, column 13" in json.loads(body)["error"]["message"]


def test_lexicon_of_a_request(gateway: RunningGateway) -> None:
    spoken = post(gateway, input="Mr. Nguyen.", lexicon={"Nguyen": "win"})[2]
    assert spoken == post(gateway, input="Mr. win.")[2]
    assert post(gateway, input="Hi.", lexicon={"": "x"})[0] == 400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Hi 中 there ☃.", r"not spoken, this voice has no symbol for: '\u2603'"),
        ("It is # and ~ now.", "not spoken, this voice has no symbol for: '#', '~'"),
        ("😀", r"text: nothing of '\U0001f600' can be spoken"),
        ("Say {QQ9} it.", "not spoken, this voice has no symbol for: "),
    ],
)
def test_what_is_not_spoken_is_told(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, text: str, told: str
) -> None:
    """subwave#963."""
    headers = post(gateway, input=text)[1]
    assert headers["x-tacoglow-warning"].startswith(told)
    logged = caplog.records[-1].getMessage()
    assert logged.encode("ascii", "backslashreplace").decode() == f"tiny: {headers['x-tacoglow-warning']}"
    assert post(gateway, input=text, stream=True)[1]["x-tacoglow-warning"] == headers["x-tacoglow-warning"]
    events = post(gateway, input=text, stream=True, stream_format="sse")[2].decode().split("\n\n")
    last = json.loads(events[-2].removeprefix("data: "))
    assert last["warning"] in logged
    assert last["type"] == "speech.audio.done"


def test_a_header_ends_with_a_whole_escape() -> None:
    assert response._header("a" + "🙂" * 600) == "a" + r"\U0001f642" * 99  # 991 of 1,000 bytes
    assert response._header("a" * 1_001) == "a" * 1_000


def test_a_header_is_cut_before_a_space() -> None:
    assert response._header("a" * 999 + " b") == "a" * 999  # h11 sends no header that ends with a space
    assert response._header(" \ta\x7f\n") == r"\ta\x7f\n"


@pytest.mark.parametrize(("name", "told"), [("anna ", "anna"), (" anna é", r"anna \xe9"), (" ", "")])
def test_names_of_voices_in_headers(new_scheduler: Callable[[], Scheduler], name: str, told: str) -> None:
    with running(new_scheduler(), voice_id=name) as gateway:
        status, headers, body = post(gateway, input="Hi.")
        assert (status, headers["x-tacoglow-voice"]) == (200, told)
        assert body


def test_control_characters_are_told_as_escapes(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    status, headers, body = post(gateway, input="He\0llo \x1b[31mworld\x7f.", gate_threshold=0.999999)
    assert (status, headers["x-tacoglow-quality"]) == (200, r"cut off: He\x00llo \x1b[31mworld\x7f.")
    assert body
    assert caplog.messages[-1] == f"tiny: {headers['x-tacoglow-quality']}"


def test_nothing_is_told_of_a_text_that_is_spoken_as_it_asks(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    headers = post(gateway, input="Hello world, I missed you.")[1]
    assert "x-tacoglow-warning" not in headers
    assert headers["x-tacoglow-speed"] == "1"
    assert not caplog.records
    assert "warning" not in gateway.speech(input="Hello.", stream_format="sse").body.decode()


@pytest.mark.parametrize(("speed", "nearest"), [(0.25, 0.5), (0.4, 0.5), (0.5, 0.5), (2, 2), (2.5, 2), (4.0, 2)])
def test_speeds_that_voices_do_not_have(gateway: RunningGateway, speed: float, nearest: float) -> None:
    """stdapi.ai#263, voicemode#28."""
    status, headers, body = post(gateway, input="Hi.", speed=speed)
    assert (status, headers["x-tacoglow-speed"]) == (200, f"{nearest:g}")
    assert body == post(gateway, input="Hi.", speed=nearest)[2]
    told = headers.get("x-tacoglow-warning")
    assert told == (None if speed == nearest else f"speed: {nearest:g}, the nearest that voices have to {speed:g}")


UNCERTAIN = 0.991  # a gate threshold that some of the tiny voice's utterances do not reach
CUT_OFF = {"input": "Hello ☃ world.", "gate_threshold": 0.999999}  # the tiny voice's gate does not fire


def test_faults_are_told(gateway: RunningGateway, voice: Synthesizer, caplog: pytest.LogCaptureFixture) -> None:
    expected = list(voice.stream("Hello ☃ world.", 0, options=SpeechOptions(gate_threshold=0.999999)))
    assert len(expected) > 1
    headers = post(gateway, **CUT_OFF)[1]
    assert headers["x-tacoglow-quality"] == r"cut off: Hello \u2603 world."
    assert caplog.messages[-1] == "tiny: cut off: Hello ☃ world."
    assert post(gateway, input=TEXT)[1]["x-tacoglow-quality"] == "good"
    faults = [{"reason": "cut_off", "words": ["Hello", "☃", "world."]}]
    events = gateway.speech(**CUT_OFF, stream_format="sse").body.decode().split("\n\n")
    assert json.loads(events[-2].removeprefix("data: "))["faults"] == faults
    lines = gateway.request("/dev/captioned_speech", CUT_OFF).body.decode().splitlines()
    assert [fault for line in lines for fault in json.loads(line).get("faults", [])] == faults
    metrics = gateway.request("/metrics").body.decode()
    assert int(metrics.split('tacoglow_faults_total{reason="cut_off"} ')[1].split()[0]) >= 3


@pytest.fixture
def submitted(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> list[tuple[SpeechOptions, bool]]:
    """The options of requests that the scheduler gets, and whether they are heard while they are spoken."""
    asked: list[tuple[SpeechOptions, bool]] = []
    submit = gateway.scheduler.submit

    def noted(
        text: str, seed: int, options: SpeechOptions, stream: StreamOptions, is_heard: bool = True, **others: Any
    ) -> Any:
        asked.append((options, is_heard))
        return submit(text, seed, options, stream, is_heard, **others)

    monkeypatch.setattr(gateway.scheduler, "submit", noted)
    return asked


Submitted = list[tuple[SpeechOptions, bool]]


def test_strict_parity_can_be_asked_for(gateway: RunningGateway, submitted: Submitted) -> None:
    for wanted in (None, False, True):
        assert post(gateway, input=TEXT, attention_stop=wanted)[0] == 200
    assert [options.attention_stop for options, _ in submitted] == [None, False, True]
    assert post(gateway, input=TEXT, attention_stop="no")[0] == 400


def test_attention_window_and_retries_by_every_route(gateway: RunningGateway, submitted: Submitted) -> None:
    fields = {"attention_window": 5, "retries": 3, "attention_stop": False, "gate_threshold": 0.6}
    assert post(gateway, input=TEXT, **fields)[0] == 200
    assert gateway.request("/synthesize", {"text": TEXT, **fields}).status == 200
    assert gateway.request("/dev/captioned_speech", {"input": TEXT, "stream": False, **fields}).status == 200
    expected = SpeechOptions(attention_window=5, retries=3, attention_stop=False, gate_threshold=0.6)
    assert submitted == [(expected, False)] * 3


@pytest.mark.parametrize(
    ("fields", "is_heard"),
    [
        ({}, True),
        ({"stream": False}, False),
        ({"stream_format": "sse"}, True),
        ({"stream_format": "sse", "stream": False}, False),
        ({"response_format": "flac"}, False),  # which has its length in front
    ],
)
def test_only_what_is_heard_is_not_retried(
    gateway: RunningGateway, submitted: Submitted, fields: dict[str, Any], is_heard: bool
) -> None:
    assert gateway.speech(input=TEXT, **fields).status == 200
    assert submitted == [(SpeechOptions(), is_heard)]
    answer = gateway.speech(input=TEXT, retries=1, **fields)
    assert answer.status == (400 if is_heard else 200)
    if is_heard:
        assert answer.error["param"] == "retries"
        assert answer.error["message"].endswith("set stream to false, or leave retries out")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retries": 4}, "retries: expected 0 to 3, got 4"),
        ({"retries": -1}, "retries: expected 0 to 3, got -1"),
        ({"retries": "two"}, "retries: expected 0 to 3, got 'two'"),
        ({"lexicon": {"a": 5}}, "lexicon: expected an object of strings, got an object"),
        ({"attention_window": 0}, "attention_window: expected 1 to "),
        ({"attention_window": 2.5}, "attention_window: expected 1 to "),
    ],
)
def test_bad_retries_windows_and_lexicons(gateway: RunningGateway, fields: dict[str, Any], message: str) -> None:
    answer = gateway.speech(input=TEXT, stream=False, **fields)
    assert answer.status == 400
    assert answer.error["message"].startswith(message)


def test_a_whole_answer_is_retried_as_by_say(gateway: RunningGateway, voice: Synthesizer) -> None:
    """With a gate threshold that the tiny voice's first tries reach only with some seeds."""
    options = SpeechOptions(retries=2, gate_threshold=UNCERTAIN)
    first, said = ([voice.say(TEXT, seed, options, **changes) for seed in range(8)] for changes in ({"retries": 0}, {}))
    retried = [seed for seed in range(8) if len(first[seed].samples) != len(said[seed].samples)]
    assert retried
    for seed in retried:
        answer = gateway.speech(input=TEXT, response_format="wav", seed=seed, stream=False, retries=2,
                                gate_threshold=UNCERTAIN)  # fmt: skip
        assert (len(answer.body) - 44) // 2 == len(said[seed].samples)
        assert answer.headers["x-tacoglow-quality"] == str(said[seed].quality)
