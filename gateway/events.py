"""Speech inside JSON: server-sent events as OpenAI's clients read them, and Kokoro's captioned lines."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio.to_thread

from ..runtime.quality import Quality
from .errors import as_gateway_error
from .request import ParsedRequest
from .speaking import SpokenRequest


async def sse_events(
    spoken: SpokenRequest, chunks: AsyncIterator[bytes], wanted: ParsedRequest
) -> AsyncIterator[bytes]:
    """Server-sent events: the encoded bytes in base64, the words of each piece once it is spoken, if they are wanted,
    then the usage; an error once events have begun.
    """
    begun = False
    try:
        async with aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield await anyio.to_thread.run_sync(_audio_event, chunk)  # it may be all of an hour's speech
                begun = True
                if spoken.described:
                    yield _timestamps_event(spoken)
        if spoken.described:  # the last segment was empty
            yield _timestamps_event(spoken)
        done = {"type": "speech.audio.done", "usage": usage(spoken)}
        yield _event(done | _warning(spoken) | faults_of(spoken.quality))
    except Exception as error:
        if not begun:
            raise
        spoken.is_broken = True
        yield _event({"type": "error", **as_gateway_error(error).body})


async def captioned_lines(
    spoken: SpokenRequest, chunks: AsyncIterator[bytes], wanted: ParsedRequest
) -> AsyncIterator[bytes]:
    """Lines of JSON: encoded bytes in base64, and words and analyses of the pieces that have been spoken by then.

    A request that is not streamed has one line. The first one has the warning, if there is one.
    """
    is_first, encoding = True, wanted.settings.encoding

    async def line(chunk: bytes) -> bytes:
        nonlocal is_first
        described = spoken.take_described()
        words = [word for each in described for word in each.words]
        content: dict[str, Any] = {"audio_format": encoding.content_type, "timestamps": words}
        content |= _warning(spoken) if is_first else {}
        is_first = False
        content |= faults_of(Quality(tuple(fault for each in described for fault in each.faults)))
        if wanted.analysis:
            content["analysis"] = [each.analysis for each in described]

        def write() -> bytes:
            audio = {"audio": _base64(chunk)}
            return json.dumps(audio | content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

        return await anyio.to_thread.run_sync(write)

    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks if wanted.stream else _joined(chunks):
            yield await line(chunk)
    if spoken.described:  # the last segment was empty
        yield await line(b"")


def faults_of(quality: Quality | None) -> dict[str, Any]:
    """The faults of speech as JSON has them; nothing if there are none."""
    found = () if quality is None else quality.faults
    faults = [{"reason": fault.reason, "words": list(fault.words)} for fault in found]
    return {"faults": faults} if faults else {}


def _warning(spoken: SpokenRequest) -> dict[str, Any]:
    return {"warning": spoken.warning} if spoken.warning else {}


def usage(spoken: SpokenRequest) -> dict[str, int]:
    """Symbols in, mel frames out."""
    tokens, frames = spoken.tokens, spoken.frames
    return {"input_tokens": tokens, "output_tokens": frames, "total_tokens": tokens + frames}


async def _joined(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"".join([chunk async for chunk in chunks])


def _timestamps_event(spoken: SpokenRequest) -> bytes:
    words = [word for each in spoken.take_described() for word in each.words]
    return _event({"type": "speech.audio.timestamps", "timestamps": words})


def _audio_event(chunk: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": _base64(chunk)})


def _base64(chunk: bytes) -> str:
    return base64.b64encode(chunk).decode()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
