"""POST /v1/audio/speech, /dev/captioned_speech as Kokoro's clients send it, and /synthesize as Piper's do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from .encoding import Encoding, encode_segments
from .errors import as_gateway_error, invalid
from .events import captioned_lines, sse_events
from .request import SpeechRequest, parse_body, parse_captioned, parse_speech
from .response import SpokenResponse
from .speaking import Speech, speak
from .state import Gateway, gateway_of, read_body


async def speech(request: Request) -> Response:
    """Speak a text in the format and in the way that the request asks for."""
    gateway = gateway_of(request)
    wanted = parse_speech(parse_body(await read_body(request)), gateway.voices, gateway.options.max_characters)
    return await _answer(request, gateway, wanted)


async def synthesize(request: Request) -> Response:
    """Piper's own route: a whole wav."""
    gateway = gateway_of(request)
    fields = parse_body(await read_body(request))
    scale = fields.get("length_scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale <= 0:
        raise invalid("length_scale", f"length_scale: expected a positive number, got {scale!r}")
    speech_fields = {"response_format": "wav", "stream": False, "speed": 1.0 / scale}
    for piper, own in (("text", "input"), ("voice", "voice")):
        if piper in fields:
            speech_fields[own] = fields[piper]
    return await _answer(request, gateway, parse_speech(speech_fields, gateway.voices, gateway.options.max_characters))


async def captioned(request: Request) -> Response:
    """Speech and the times of its words, as objects of JSON: one per line, or one for all of it."""
    gateway = gateway_of(request)
    fields = parse_body(await read_body(request))
    wanted = parse_captioned(fields, gateway.voices, gateway.options.max_characters)
    answering = await _begin(request, gateway, wanted)
    lines = captioned_lines(answering.spoken, answering.chunks, answering.encoding.content_type, wanted)
    send = SpokenResponse if wanted.stream else SpokenResponse.whole
    return send(gateway, lines, "application/json", _headers(wanted, answering.encoding))


async def _answer(request: Request, gateway: Gateway, wanted: SpeechRequest) -> Response:
    answering = await _begin(request, gateway, wanted)
    chunks, encoding = answering.chunks, answering.encoding
    headers = _headers(wanted, encoding)
    if wanted.sse:
        events = sse_events(answering.spoken, chunks, wanted.timestamps)
        return SpokenResponse(gateway, events, "text/event-stream", headers)
    headers["content-disposition"] = f'inline; filename="{encoding.file_name}"'
    send = SpokenResponse if wanted.stream else SpokenResponse.whole
    return send(gateway, chunks, encoding.content_type, headers)


@dataclass(frozen=True)
class _Answering:
    """An accepted request, and its encoded audio to come."""

    spoken: Speech
    encoding: Encoding
    chunks: AsyncIterator[bytes]


async def _begin(request: Request, gateway: Gateway, wanted: SpeechRequest) -> _Answering:
    request.scope["tacoglow.format"] = wanted.audio_format  # for the counters
    gateway.check_accepts()
    voice = wanted.voice
    encoding = Encoding.choose(wanted.audio_format, wanted.sample_rate, voice.sampling_rate)
    spoken = await _accepted(gateway, wanted)
    chunks = encode_segments(spoken.segments(), encoding, voice.sampling_rate, whole=not wanted.stream)
    return _Answering(spoken, encoding, chunks)


async def _accepted(gateway: Gateway, wanted: SpeechRequest) -> Speech:
    voice, options, max_wait = wanted.voice, wanted.options, gateway.options.max_wait
    segments = None if wanted.stream else voice.facts.whole
    try:
        return await speak(voice, wanted.text, wanted.seed, options, gateway.metrics, max_wait, segments)
    except Exception as error:
        raise as_gateway_error(error) from error


def _headers(wanted: SpeechRequest, encoding: Encoding) -> dict[str, str]:
    headers = {
        "x-accel-buffering": "no",
        "cache-control": "no-store",
        "x-tacoglow-voice": wanted.voice.id.encode("ascii", "replace").decode(),
        "x-tacoglow-sample-rate": str(encoding.rate),
        "x-tacoglow-seed": str(wanted.seed),
    }
    if wanted.ignored:
        headers["x-tacoglow-ignored"] = ", ".join(wanted.ignored[:32])
    return headers
