"""Speech inside JSON: server-sent events as OpenAI's clients read them, and Kokoro's captioned lines."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import anyio.to_thread

from ..runtime.output.audio import Utterance
from ..runtime.output.timestamps import TimedText
from ..runtime.quality import Quality
from .analysis import analyse
from .errors import as_gateway_error
from .request import ParsedRequest
from .speaking import SpokenRequest
from .voices import Voice


async def sse_events(
    spoken: SpokenRequest, chunks: AsyncIterator[bytes], wanted: ParsedRequest
) -> AsyncIterator[bytes]:
    """Server-sent events: the encoded bytes in base64, the words of each piece once it is spoken, if they are wanted,
    then the usage; an error once events have begun.
    """
    begun, timestamps, delay = False, wanted.timestamps, wanted.settings.encoding.delay
    try:
        async with aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield await anyio.to_thread.run_sync(_audio_event, chunk)  # it may be all of an hour's speech
                begun = True
                if timestamps and spoken.utterances:
                    yield _event(await _timestamps_event(spoken, delay))
        if timestamps and spoken.utterances:  # the last segment was empty
            yield _event(await _timestamps_event(spoken, delay))
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
        utterances = spoken.take_utterances()
        words = await _timestamps(spoken.voice, utterances, encoding.delay) if wanted.timestamps else []
        content = {"audio_format": encoding.content_type, "timestamps": words}
        content |= _warning(spoken) if is_first else {}
        is_first = False
        content |= faults_of(Quality(tuple(fault for utterance in utterances for fault in utterance.quality.faults)))

        def write() -> bytes:
            audio = {"audio": _base64(chunk)}
            if wanted.analysis:
                content["analysis"] = [analyse(spoken.voice, utterance, encoding.delay) for utterance in utterances]
            return json.dumps(audio | content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

        return await anyio.to_thread.run_sync(write)

    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks if wanted.stream else _joined(chunks):
            yield await line(chunk)
    if spoken.utterances:  # the last segment was empty
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


async def _timestamps(voice: Voice, utterances: Sequence[Utterance], delay: float) -> list[dict[str, Any]]:
    """The words of utterances, in seconds from the start of all decoded audio, which the encoder delays by `delay`."""

    def find() -> list[TimedText]:
        front_end, rate = voice.facts.front_end, voice.sampling_rate
        assert front_end is not None  # of utterances that were made in this process
        return [word for utterance in utterances for word in utterance.times(front_end, rate).words]

    words = await anyio.to_thread.run_sync(find)  # it takes a while
    return [{"word": word.text, "start_time": word.start + delay, "end_time": word.end + delay} for word in words]


async def _timestamps_event(spoken: SpokenRequest, delay: float) -> dict[str, Any]:
    words = await _timestamps(spoken.voice, spoken.take_utterances(), delay)
    return {"type": "speech.audio.timestamps", "timestamps": words}


def _audio_event(chunk: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": _base64(chunk)})


def _base64(chunk: bytes) -> str:
    return base64.b64encode(chunk).decode()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
