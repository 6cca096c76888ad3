"""POST /v1/audio/speech, and POST /synthesize as Piper's clients send it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...options import SpeechOptions
from .encoding import Encoding, encode_segments
from .errors import GatewayError, as_gateway_error, invalid
from .request import SpeechRequest, parse_body, parse_speech
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


async def _answer(request: Request, gateway: Gateway, wanted: SpeechRequest) -> Response:
    request.scope["tacoglow.format"] = wanted.audio_format  # for the counters
    gateway.check_accepts()
    voice = wanted.voice
    encoding = Encoding.choose(wanted.audio_format, wanted.sample_rate, voice.sampling_rate)
    spoken = await _accepted(gateway, wanted)
    headers = _headers(wanted, encoding)
    chunks = encode_segments(spoken.segments(), encoding, voice.sampling_rate, whole=not wanted.stream)
    if wanted.sse:
        del headers["content-disposition"]
        return SpokenResponse(gateway, sse_events(spoken, chunks), "text/event-stream", headers)
    if wanted.stream:
        return SpokenResponse(gateway, chunks, encoding.content_type, headers)
    return SpokenResponse.whole(gateway, chunks, encoding.content_type, headers)


async def _accepted(gateway: Gateway, wanted: SpeechRequest) -> Speech:
    options: SpeechOptions = wanted.options
    try:
        return await speak(wanted.voice, wanted.text, wanted.seed, options, gateway.metrics, gateway.options.max_wait)
    except Exception as error:
        raise as_gateway_error(error) from error


def _headers(wanted: SpeechRequest, encoding: Encoding) -> dict[str, str]:
    headers = {
        "x-accel-buffering": "no",
        "cache-control": "no-store",
        "content-disposition": f'inline; filename="{encoding.file_name}"',
        "x-tacoglow-voice": wanted.voice.id.encode("ascii", "replace").decode(),
        "x-tacoglow-sample-rate": str(encoding.rate),
        "x-tacoglow-seed": str(wanted.seed),
    }
    if wanted.ignored:
        headers["x-tacoglow-ignored"] = ", ".join(wanted.ignored[:32])
    return headers


async def sse_events(spoken: Speech, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Server-sent events: the encoded bytes in base64, then the usage; an error once events have begun."""
    begun = False
    try:
        async with aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()})
                begun = True
        yield _event({"type": "speech.audio.done", "usage": usage(spoken)})
    except Exception as error:
        if not begun:
            raise
        failure: GatewayError = as_gateway_error(error)
        yield _event({"type": "error", **failure.body})


def usage(spoken: Speech) -> dict[str, int]:
    """Symbols in, mel frames out."""
    utterances = () if spoken.audio is None else spoken.audio.utterances
    tokens = sum(len(utterance.token_ids) for utterance in utterances)
    frames = sum(len(utterance.gate) for utterance in utterances)
    return {"input_tokens": tokens, "output_tokens": frames, "total_tokens": tokens + frames}


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
