"""Conversion of requests and responses to tensors and back, without a server."""

from __future__ import annotations

import base64
import io
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import Ending
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.wav_writer import to_int16
from tacoglow.triton_server.contract import (
    INPUTS,
    OUTPUTS,
    RequestLimits,
    Response,
    SpeechRequest,
    numpy_type,
    read_request,
)

LIMITS = RequestLimits(max_characters=100, max_retries=2)
SAMPLES = np.array([0.0, 0.25, -1.5, 1e-7], np.float32)


def one(name: str, value: Any) -> np.ndarray[Any, Any]:
    """An input tensor with one value."""
    return np.array([[value]], numpy_type(INPUTS[name]))


@pytest.mark.parametrize(
    "request_",
    [
        SpeechRequest("Hello."),
        SpeechRequest("Ünï.", 2**64 - 1, SpeechOptions(sigma=0.1, denoise=0.3), "wav"),
        SpeechRequest("x [pause 1s] y", 2, SpeechOptions(rate=0.7, volume=0.0, sentence_silence=0.0)),
        SpeechRequest("x", 3, SpeechOptions(lexicon={"x = y": "ex", "Xü": "ksoo"}, attention_window=5)),
        SpeechRequest("<speak>x</speak>", 4, SpeechOptions(ssml=True)),
        SpeechRequest("x", 1, SpeechOptions(gate_threshold=0.1, max_frames=7, retries=2, attention_stop=True)),
    ],
)
def test_request_round_trip(request_: SpeechRequest, voice: Synthesizer) -> None:
    read, _ = read_request(request_.tensors(), voice, LIMITS)
    assert read == request_


def test_default_options_are_not_sent() -> None:
    """Triton batches only requests with the same set of inputs."""
    assert SpeechRequest("x").tensors().keys() == {"text", "seed"}


def test_dropped_characters_are_reported(voice: Synthesizer) -> None:
    assert read_request(SpeechRequest("Hi.").tensors(), voice, LIMITS)[1].dropped == ()
    assert read_request(SpeechRequest("Hi ☃.").tensors(), voice, LIMITS)[1].dropped == ("☃",)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"text": one("text", b"x"), "lexicon": one("lexicon", b"x = ex")}, "lexicon: expected a JSON object of words"),
        (
            {"text": one("text", b"x"), "lexicon": one("lexicon", b'{"x": 5}')},
            "lexicon: expected a JSON object of words",
        ),
        ({}, "text: the text is empty"),
        ({"text": one("text", b"")}, "text: the text is empty"),
        ({"text": one("text", b" \n")}, "text: the text is empty"),
        ({"text": one("text", "☃".encode())}, "nothing of '☃' can be spoken"),
        ({"text": one("text", b"a\xff")}, "text: not valid UTF-8 .* at byte 1"),
        ({"text": one("text", b"a" * 101)}, "text: 101 characters, this server accepts up to 100"),
        ({"text": np.array([[b"a"], [b"b"]], object)}, "text: expected one value, got 2"),
        ({"text": np.zeros((1, 0), object)}, "text: expected one value, got 0"),
        ({"text": one("text", b"a"), "encoding": one("encoding", b"mp3")}, "encoding: expected one of wav, int16"),
        ({"text": one("text", b"a"), "sigma": one("sigma", float("nan"))}, "sigma: expected a number"),
        ({"text": one("text", b"a"), "max_frames": one("max_frames", 41)}, "max frames: expected 1 to 40"),
        ({"text": one("text", b"a"), "retries": one("retries", -1)}, "retries: expected 0 to 100"),
        ({"text": one("text", b"a"), "rate": one("rate", 3.0)}, "rate: expected a number from 0.5 to 2"),
        (
            {"text": one("text", b"Ab cd. " * 14), "sentence_silence": one("sentence_silence", 9.5)},
            "text: expected at most 120 seconds of pauses, got 123.5",
        ),
        (
            {"text": one("text", b"Hi."), "retries": one("retries", 3)},
            "retries: this server accepts up to 2, got 3",
        ),
    ],
)
def test_invalid_request_is_rejected_in_one_line(tensors: dict[str, Any], message: str, voice: Synthesizer) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_request(tensors, voice, LIMITS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("most", "granted"), [(0, 0), (1, 1), (2, 2), (3, 2)])
def test_a_server_grants_no_more_retries_than_its_limit(voice: Synthesizer, most: int, granted: int) -> None:
    """Also to requests that leave it to the voice: 2, if its sentences were measured at export."""
    decoder = msgspec.structs.replace(
        voice.manifest.decoder, ending=Ending(attention_patience=40, frames=5, frames_per_token=1.5)
    )
    measured = msgspec.structs.replace(voice.manifest, decoder=decoder)
    limits = RequestLimits(max_retries=most)
    assert limits.apply(SpeechOptions(), measured).resolve(measured).retries == granted
    assert limits.apply(SpeechOptions(), voice.manifest).resolve(voice.manifest).retries == 0


@pytest.mark.parametrize("encoding", ["", "float32"])
def test_response_round_trip(encoding: Any) -> None:
    tensors = Response(SAMPLES, 16_000, "gate", "a warning").tensors(encoding)
    assert tensors.keys() == OUTPUTS.keys()
    for name, array in tensors.items():
        assert array.dtype == numpy_type(OUTPUTS[name])
        assert array.shape[0] == 1  # the batch
    read = Response.read(tensors)
    np.testing.assert_array_equal(read.samples, SAMPLES)
    assert (read.sampling_rate, read.stop_reason, read.warning) == (16_000, "gate", "a warning")


def test_encodings() -> None:
    response = Response(SAMPLES, 16_000, "gate")
    wav, pcm = (base64.b64decode(response.tensors(kind)["encoded"].item()) for kind in ("wav", "int16"))
    rate, samples = wavfile.read(io.BytesIO(wav))
    assert rate == 16_000
    np.testing.assert_array_equal(samples, to_int16(SAMPLES))
    np.testing.assert_array_equal(np.frombuffer(pcm, "<i2"), to_int16(SAMPLES))
    assert response.tensors("wav")["audio"].shape == (1, 0)
