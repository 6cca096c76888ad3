"""POST /v1/audio/speech, /dev/captioned_speech as Kokoro's clients send it, and /synthesize as Piper's do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .events import captioned_lines, sse_events
from .request import CaptionedBody, SpeechBody, SynthesizeBody, parse_request
from .response import SpokenResponse
from .state import accept


async def speech(request: Request) -> Response:
    """Speak a text in the format and in the way that the request asks for."""
    gateway, body = await accept(request)
    wanted = parse_request(body, SpeechBody, gateway.voices, gateway.options.max_characters)
    if wanted.sse:
        return SpokenResponse(gateway, wanted, "text/event-stream", sse_events)
    return SpokenResponse(gateway, wanted)


async def captioned(request: Request) -> Response:
    """Speech and the times of its words, as objects of JSON: one per line, or one for all of it."""
    gateway, body = await accept(request)
    wanted = parse_request(body, CaptionedBody, gateway.voices, gateway.options.max_characters)
    return SpokenResponse(gateway, wanted, "application/json", captioned_lines)


async def synthesize(request: Request) -> Response:
    """Piper's own route: a whole wav."""
    gateway, body = await accept(request)
    return SpokenResponse(gateway, parse_request(body, SynthesizeBody, gateway.voices, gateway.options.max_characters))
