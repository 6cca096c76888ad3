"""POST /v1/audio/speech, /dev/captioned_speech as Kokoro's clients send it, and /synthesize as Piper's do."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from .events import captioned_lines, sse_events
from .request import BodyKind, CaptionedBody, ParsedRequest, SpeechBody, SynthesizeBody, parse_request
from .response import SpokenResponse
from .state import Gateway, accept, client_of


async def speech(request: Request) -> Response:
    """Speak a text in the format and in the way that the request asks for."""
    gateway, wanted = await _accept(request, SpeechBody)
    if wanted.sse:
        return SpokenResponse(gateway, wanted, "text/event-stream", sse_events)
    return SpokenResponse(gateway, wanted)


async def captioned(request: Request) -> Response:
    """Speech and the times of its words, as objects of JSON: one per line, or one for all of it."""
    gateway, wanted = await _accept(request, CaptionedBody)
    return SpokenResponse(gateway, wanted, "application/json", captioned_lines)


async def synthesize(request: Request) -> Response:
    """Piper's own route: a whole wav."""
    return SpokenResponse(*await _accept(request, SynthesizeBody))


async def _accept(request: Request, kind: BodyKind) -> tuple[Gateway, ParsedRequest]:
    """The server and what is asked of it."""
    gateway, body = await accept(request)
    parse = partial(parse_request, body, kind, gateway.voices, gateway.options.max_characters)
    with gateway.answering(client_of(request.client)):  # those that wait are counted too
        return gateway, await gateway.read(len(body), parse)
