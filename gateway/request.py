"""Requests for speech: JSON bodies as typed structs, and their meaning with this server's voices."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, inspect

from ..runtime.bundle.manifest import COUNT_MAX, STRENGTH_MAX
from ..runtime.errors import RequestError
from ..runtime.noise import Noise
from ..runtime.options import (
    RATE_MAX,
    RATE_MIN,
    SENTENCE_SILENCE_MAX,
    SERVED_RETRIES_MAX,
    VOLUME_MAX,
    SpeechOptions,
)
from ..text import Lexicon, TextError, is_ssml
from .encoding import HERTZ_MAX, HERTZ_MIN, Encoding, FormatName
from .errors import GatewayError, invalid
from .voices import Voice, Voices

ACCEPTED = {"instructions"}  # fields of OpenAI's that have no effect here
SPEED_MIN, SPEED_MAX = 0.25, 4.0  # OpenAI's; what lies outside of a voice's speaking rates gets the nearest of them
LEXICON_MAX = 50_000  # characters of a request's words: each may take half a kilobyte of memory
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # of a field that can be named in a header
_PATH = re.compile(r" - at `\$\.(\w+)")  # where msgspec's errors say which field is wrong
_MISSING = re.compile(r"Object missing required field `(\w+)`$")
_Strength = Annotated[float, Meta(ge=0.0, le=STRENGTH_MAX)]
Kind = TypeVar("Kind", bound=Struct)


class VoiceId(Struct):
    """A voice as an object, the second of OpenAI's two forms."""

    id: str


class DecodingBody(Struct, kw_only=True):
    """The fields that say how a text is decoded; None: the voice's or the server's value."""

    gate_threshold: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    attention_stop: bool | None = None  # false: an utterance ends by its gate or the frame limit, as NVIDIA's do
    attention_window: Annotated[int, Meta(ge=1, le=COUNT_MAX)] | None = None  # tokens ahead that it may see
    retries: Annotated[int, Meta(ge=0, le=SERVED_RETRIES_MAX)] | None = None  # of a faulty utterance that nobody heard


class SettingsBody(DecodingBody, kw_only=True):
    """The fields that say how a text is spoken; None: the voice's or the format's value."""

    voice: str | VoiceId = ""
    model: str = ""
    response_format: FormatName = "mp3"
    sample_rate: Annotated[int, Meta(ge=HERTZ_MIN, le=HERTZ_MAX)] | None = None  # Hz
    seed: int = 0
    speed: Annotated[float, Meta(ge=SPEED_MIN, le=SPEED_MAX)] = 1.0
    sigma: _Strength | None = None
    denoise: _Strength = 0.0
    volume: Annotated[float, Meta(ge=0.0, le=VOLUME_MAX)] = 1.0
    sentence_silence: Annotated[float, Meta(ge=0.0, le=SENTENCE_SILENCE_MAX)] | None = None  # seconds
    trim_silence: bool = False  # at both ends of the speech
    lexicon: dict[str, str] = {}  # words, and how they are said

    def resolve(self, voices: Voices, stream: str | None, ssml: bool = False) -> Settings:
        """Find the voice, and choose the encoding. stream: the field that asks for audio while it is made; None: none
        does. Raises GatewayError.
        """
        try:
            Noise(self.seed)
        except RequestError as error:
            raise invalid("seed", str(error)) from error
        if (size := sum(map(len, self.lexicon))) > LEXICON_MAX:
            way_out = "leave out those that the text does not have"
            raise invalid(
                "lexicon", f"lexicon: expected words of {LEXICON_MAX} characters at most, got {size}; {way_out}"
            )
        try:
            lexicon = Lexicon(self.lexicon) if self.lexicon else None
        except TextError as error:
            raise invalid("lexicon", str(error)) from error
        options = SpeechOptions(
            sigma=self.sigma,
            denoise=self.denoise,
            gate_threshold=self.gate_threshold,
            attention_stop=self.attention_stop,
            attention_window=self.attention_window,
            retries=self.retries,
            rate=min(max(self.speed, RATE_MIN), RATE_MAX),
            volume=self.volume,
            sentence_silence=self.sentence_silence,
            trim_silence=self.trim_silence,
            lexicon=lexicon,
            ssml=ssml,
        )
        lexicon_digest = hashlib.sha256(json.dumps(self.lexicon, sort_keys=True).encode()).hexdigest()
        voice = voices.choose(self.model, self.voice if isinstance(self.voice, str) else self.voice.id)
        try:
            encoding = Encoding.choose(self.response_format, self.sample_rate, voice.sampling_rate)
        except RequestError as error:
            raise invalid("sample_rate", str(error)) from error
        is_heard = stream is not None and encoding.is_streamed
        if self.retries and is_heard:
            way_out = f"set {stream} to false, or leave retries out"
            raise invalid("retries", f"retries: a stream cannot take back what has been heard; {way_out}")
        return Settings(voice, encoding, self.seed, options, self.speed, is_heard, lexicon_digest)


class RequestBody(SettingsBody, kw_only=True):
    """The fields of every request for speech."""

    input: str
    ssml: bool | None = None  # the input is an SSML document; None: if it begins as one
    stream: bool = True
    stream_format: Literal["audio", "sse"] = "audio"

    @property
    def is_ssml(self) -> bool:
        return is_ssml(self.input) if self.ssml is None else self.ssml

    def settings(self, voices: Voices) -> Settings:
        """Raises GatewayError."""
        return self.resolve(voices, "stream" if self.stream else None, self.is_ssml)


class SpeechBody(RequestBody, kw_only=True):
    """POST /v1/audio/speech."""

    timestamps: bool = False

    def parse(self, voices: Voices) -> ParsedRequest:
        settings, sse = self.settings(voices), self.stream_format == "sse"
        if self.timestamps:
            _check_known_here(settings.voice, "timestamps")
            if not sse:
                way_out = "set stream_format to sse, or use /dev/captioned_speech"
                raise invalid("timestamps", f"timestamps: audio cannot carry them; {way_out}")
        return ParsedRequest(self.input, settings, self.stream, sse, self.timestamps)


class CaptionedBody(RequestBody, kw_only=True):
    """POST /dev/captioned_speech."""

    return_timestamps: bool = True
    return_analysis: bool = False

    def parse(self, voices: Voices) -> ParsedRequest:
        settings = self.settings(voices)
        for name in ("return_timestamps", "return_analysis"):
            if getattr(self, name):
                _check_known_here(settings.voice, name)
        if self.stream_format == "sse":
            message = "stream_format: expected audio, got sse; this route answers with lines of JSON"
            raise invalid("stream_format", message)
        return ParsedRequest(
            self.input, settings, self.stream, timestamps=self.return_timestamps, analysis=self.return_analysis
        )


class SynthesizeBody(DecodingBody, kw_only=True):
    """POST /synthesize."""

    text: str
    voice: str = ""
    length_scale: Annotated[float, Meta(ge=1.0 / SPEED_MAX, le=1.0 / SPEED_MIN)] = 1.0

    def parse(self, voices: Voices) -> ParsedRequest:
        decoding = {name: getattr(self, name) for name in DecodingBody.__struct_fields__}
        settings = SettingsBody(voice=self.voice, response_format="wav", speed=1.0 / self.length_scale, **decoding)
        return ParsedRequest(self.text, settings.resolve(voices, None, is_ssml(self.text)), stream=False)


BodyKind = type[SpeechBody] | type[CaptionedBody] | type[SynthesizeBody]


@dataclass(frozen=True)
class Settings:
    """How a text is spoken and sent."""

    voice: Voice
    encoding: Encoding
    seed: int
    options: SpeechOptions
    speed: float = 1.0  # that was asked for; the options' rate is the nearest one that voices have
    is_heard: bool = True  # while it is made
    lexicon_digest: str = ""

    @property
    def warning(self) -> str:
        """Describes what is spoken otherwise than asked; empty if nothing is."""
        rate = self.options.rate
        return "" if rate == self.speed else f"speed: {rate:g}, the nearest that voices have to {self.speed:g}"


@dataclass(frozen=True)
class ParsedRequest:
    """One valid request for speech."""

    text: str
    settings: Settings
    stream: bool = True
    sse: bool = False
    timestamps: bool = False  # tell when each word is spoken
    analysis: bool = False  # and send mel, alignment and gate
    ignored: tuple[str, ...] = ()  # names of unknown fields


def parse_request(body: bytes, kind: BodyKind, voices: Voices, max_characters: int) -> ParsedRequest:
    """Read a body of this kind. Raises GatewayError."""
    fields = decode_object(body)
    wanted = convert(fields, kind)
    name = "text" if isinstance(wanted, SynthesizeBody) else "input"
    _check_text(name, getattr(wanted, name), max_characters)
    known = ACCEPTED.union(wanted.__struct_fields__)
    ignored = tuple(sorted(name for name in fields if name not in known and _NAME.fullmatch(name)))
    return replace(wanted.parse(voices), ignored=ignored)


def decode_object(body: bytes | str, name: str = "body") -> dict[str, Any]:
    """A JSON object without its null fields. name: of it, in errors. Raises GatewayError."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise GatewayError(400, "invalid_json", f"{name}: expected a JSON object; {error}") from error
    if not isinstance(content, dict):
        raise GatewayError(400, "invalid_json", f"{name}: expected a JSON object, got {_shown(content)}")
    return {name: value for name, value in content.items() if value is not None}


def convert(fields: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The struct of these fields; unknown ones are left out. Raises GatewayError, which names the invalid field."""
    try:
        return msgspec.convert(fields, kind)
    except OverflowError as error:  # of an integer that no float holds
        huge = (name for name, value in fields.items() if isinstance(value, int) and abs(value) > sys.float_info.max)
        name = next(huge, "body")
        raise invalid(name, f"{name}: the number is too large") from error
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        if missing := _MISSING.match(str(error)):
            name = missing[1]
            raise invalid(name, f"{name}: missing; expected {_expected(kind)[name]}", "missing_parameter") from error
        name = found[1] if found else "body"
        message = f"{name}: expected {_expected(kind)[name]}, got {_shown(fields.get(name))}"
        raise invalid(name, message) from error


@cache
def _expected(kind: type[Struct]) -> dict[str, str]:
    """The values that each field takes, in words."""
    information = inspect.type_info(kind)
    assert isinstance(information, inspect.StructType)
    return {field.encode_name: _words(field.type) for field in information.fields}


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_words(each) for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, inspect.IntType):
        return "an integer" if kind.ge is None else f"{kind.ge} to {kind.le}"
    if isinstance(kind, inspect.FloatType):
        return (
            f"a number between {kind.gt:g} and {kind.lt:g}"
            if kind.ge is None
            else f"a number from {kind.ge:g} to {kind.le:g}"
        )
    if isinstance(kind, inspect.DictType) and isinstance(kind.value_type, inspect.StrType):
        return "an object of strings"
    if isinstance(kind, inspect.StructType):
        return f"an object with {', '.join(field.encode_name for field in kind.fields)}"
    return {inspect.StrType: "a string", inspect.BoolType: "true or false"}.get(type(kind), "an object")


def _shown(value: Any) -> str:
    """A value of JSON in an error, cut short."""
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    shown = repr(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


def _check_text(name: str, text: str, max_characters: int) -> None:
    if not text.strip():
        raise invalid(name, f"{name}: expected a text, got a blank one", "input_empty")
    if len(text) > max_characters:
        raise invalid(
            name,
            f"{name}: expected at most {max_characters} characters, got {len(text)}; send a part of it, "
            "or start the server with a higher --max-input-chars",
            "input_too_long",
        )


def _check_known_here(voice: Voice, name: str) -> None:
    """Raises GatewayError for a field that asks for facts that only a voice in this process has."""
    if voice.facts.front_end is None:
        raise invalid(name, f"{name}: not known of {voice.id}, which other servers speak; set it to false")
