"""Events of the Wyoming protocol: reading them with limits, and telling which voices there are.

An event is a line of JSON, `{"type", "data"?, "data_length"?, "payload_length"?}`, that many bytes of JSON, and that
many bytes of payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct
from wyoming.event import Event
from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from .. import __version__
from ..text.errors import quote
from .errors import invalid
from .request import convert, decode_object
from .state import MAX_BODY, Gateway
from .voices import Voice, Voices

MAX_LINE = 64 * 1024  # bytes; asyncio's own limit of a line
PROJECT = Attribution(name="tacoglow", url="")


_Length = Annotated[int, Meta(ge=0, le=MAX_BODY)]  # bytes


class Head(Struct):
    """The line of an event."""

    type: str = ""
    data: dict[str, Any] = {}  # msgspec copies it
    data_length: _Length = 0
    payload_length: _Length = 0


async def read_event(reader: asyncio.StreamReader, gateway: Gateway) -> Event | None:
    """The next event; None at the end of the connection. Raises GatewayError for what is not an event."""
    try:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            return None
        head = convert(decode_object(line, "event"), Head)
        data = head.data
        if head.data_length:
            more = await reader.readexactly(head.data_length)
            data |= await gateway.read(len(more), partial(decode_object, more, "data"))
        if head.payload_length:
            await reader.readexactly(head.payload_length)  # no event that this server takes has one
    except asyncio.IncompleteReadError:
        return None
    except ValueError as error:  # of a line without end
        raise invalid("event", f"event: expected a line of at most {MAX_LINE} bytes") from error
    return Event(head.type, data)


def describe(voices: Voices) -> Event:
    """One program that has all voices, because Home Assistant takes the first one only."""
    program = TtsProgram(
        name="tacoglow",
        description="Tacotron 2 with WaveGlow or HiFi-GAN",
        version=__version__,
        installed=True,
        attribution=PROJECT,
        voices=[_describe(voice) for voice in voices.voices],
        supports_synthesize_streaming=True,
    )
    return Info(tts=[program]).event()


def _describe(voice: Voice) -> TtsVoice:
    provenance = voice.facts.provenance
    return TtsVoice(
        name=voice.id,
        description=f"{voice.id} ({voice.language})",
        version=None,
        installed=True,
        attribution=Attribution(name=next(iter(provenance.values()), voice.id), url=""),
        languages=[voice.language],
        speakers=None,
    )


def choose_voice(voices: Voices, wanted: Mapping[str, Any]) -> tuple[Voice, str | None]:
    """The voice that `{"name"?, "language"?}` means, and what to warn of.

    An unknown name gets the language's voice or else the default: an assistant in another voice beats a silent one.
    """
    name, language = wanted.get("name"), wanted.get("language")
    named = voices.find(name) if isinstance(name, str) else None
    if named is not None:
        return named, None
    speaking = [voice for voice in voices.voices if isinstance(language, str) and _matches(voice.language, language)]
    chosen = speaking[0] if speaking else voices.default
    if name is None and (language is None or speaking):
        return chosen, None
    return chosen, f"no voice {quote(name or language)}; {chosen.id} speaks instead"


def _matches(own: str, wanted: str) -> bool:
    """True if a language such as en-US is the wanted one: en-US, en_US or en."""
    parts, asked = (tag.lower().replace("_", "-").split("-") for tag in (own, wanted))
    return parts[: len(asked)] == asked
