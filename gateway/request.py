"""The fields of a speech request, read strictly and named in errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from ..runtime.errors import RequestError
from ..runtime.noise import Noise
from ..runtime.options import SpeechOptions
from .encoding import StreamFormat, check_rate
from .errors import GatewayError, invalid
from .voices import Voice, Voices

FORMAT_ALIASES = {"ogg": "opus", "oga": "opus"}
# Field -> the option of the runtime that it sets.
OPTION_FIELDS = {
    "speed": "rate",
    "sigma": "sigma",
    "denoise": "denoise",
    "gate_threshold": "gate_threshold",
    "volume": "volume",
    "sentence_silence": "sentence_silence",
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # of a field that can be named in a header
ACCEPTED = {"instructions"}  # and without effect
FIELDS = {"input", "model", "voice", "response_format", "stream_format", "stream", "sample_rate", "seed"}


@dataclass(frozen=True)
class SpeechRequest:
    """One valid request for speech."""

    text: str
    voice: Voice
    audio_format: StreamFormat
    sample_rate: int | None  # Hz; None: the format's default
    stream: bool
    sse: bool
    timestamps: bool  # tell when each word is spoken
    analysis: bool  # and send mel, alignment and gate
    seed: int
    options: SpeechOptions
    ignored: tuple[str, ...]  # names of unknown fields


def parse_body(body: bytes | str, name: str = "body") -> dict[str, Any]:
    """A JSON object without its null fields. name: of it, in errors. Raises GatewayError."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise GatewayError(400, "invalid_json", f"{name}: expected a JSON object; {error}") from error
    if not isinstance(content, dict):
        raise GatewayError(400, "invalid_json", f"{name}: expected a JSON object, got {_json_type(content)}")
    return {name: value for name, value in content.items() if value is not None}


def parse_speech(fields: Mapping[str, Any], voices: Voices, max_characters: int) -> SpeechRequest:
    """Check every field of a request for speech. Raises GatewayError."""
    wanted = _parse(fields, voices, max_characters, {"timestamps": False})
    _check_known_here(wanted, "timestamps")
    if wanted.timestamps and not wanted.sse:
        raise invalid(
            "timestamps", "timestamps: audio cannot carry them; set stream_format to sse, or use /dev/captioned_speech"
        )
    return wanted


def _check_known_here(wanted: SpeechRequest, name: str) -> None:
    """Raises GatewayError if a request wants what only a voice in this process tells."""
    if (wanted.timestamps or wanted.analysis) and wanted.voice.facts.front_end is None:
        raise invalid(name, f"{name}: not known of {wanted.voice.id}, which other servers speak; set it to false")


def parse_captioned(fields: Mapping[str, Any], voices: Voices, max_characters: int) -> SpeechRequest:
    """Check every field of a request for captioned speech. Raises GatewayError."""
    wanted = _parse(fields, voices, max_characters, {"return_timestamps": True, "return_analysis": False})
    _check_known_here(wanted, "return_timestamps" if wanted.timestamps else "return_analysis")
    if wanted.sse:
        raise invalid("stream_format", "stream_format: expected audio, got sse; this route answers with lines of JSON")
    return wanted


def _parse(fields: Mapping[str, Any], voices: Voices, max_characters: int, extras: Mapping[str, bool]) -> SpeechRequest:
    """extras: the fields that only some routes have, and their defaults: times of words, then analysis."""
    text = parse_text(fields, "input", max_characters)
    stream_format = typed(fields, "stream_format", str, "audio")
    if stream_format not in ("audio", "sse"):
        raise invalid("stream_format", f"stream_format: expected audio or sse, got {stream_format!r}")
    audio_format, sample_rate = parse_format(fields, "mp3")
    timestamps, *analysis = (typed(fields, name, bool, default) for name, default in extras.items())
    known = FIELDS | set(OPTION_FIELDS) | ACCEPTED | set(extras)
    return SpeechRequest(
        text=text,
        voice=parse_voice(fields, voices),
        audio_format=audio_format,
        sample_rate=sample_rate,
        stream=typed(fields, "stream", bool, True),
        sse=stream_format == "sse",
        timestamps=timestamps,
        analysis=any(analysis),
        seed=parse_seed(fields),
        options=parse_options(fields),
        ignored=tuple(sorted(name for name in fields if name not in known and _NAME.fullmatch(name))),
    )


def parse_text(fields: Mapping[str, Any], name: str, max_characters: int) -> str:
    if name not in fields:
        raise invalid(name, f"{name}: missing; expected the text to speak", "missing_parameter")
    text: str = typed(fields, name, str, "")
    if not text.strip():
        raise invalid(name, f"{name}: expected a text, got a blank one", "input_empty")
    if len(text) > max_characters:
        raise invalid(
            name,
            f"{name}: expected at most {max_characters} characters, got {len(text)}; send a part of it, "
            "or start the server with a higher --max-input-chars",
            "input_too_long",
        )
    return text


def parse_voice(fields: Mapping[str, Any], voices: Voices) -> Voice:
    voice = fields.get("voice", "")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if not isinstance(voice, str):
        raise invalid("voice", f'voice: expected a string or {{"id": string}}, got {_json_type(fields["voice"])}')
    return voices.choose(typed(fields, "model", str, ""), voice)


def parse_format(fields: Mapping[str, Any], default: StreamFormat) -> tuple[StreamFormat, int | None]:
    """response_format and sample_rate."""
    name = typed(fields, "response_format", str, default)
    audio_format = FORMAT_ALIASES.get(name, name)
    if audio_format not in get_args(StreamFormat):
        expected = ", ".join(get_args(StreamFormat))
        raise invalid("response_format", f"response_format: expected one of {expected}, got {name!r}")
    rate: int | None = typed(fields, "sample_rate", int, None)
    if rate is not None:
        try:
            check_rate(audio_format, rate)
        except RequestError as error:
            raise invalid("sample_rate", str(error)) from error
    return audio_format, rate  # type: ignore[return-value]


def parse_seed(fields: Mapping[str, Any]) -> int:
    seed: int = typed(fields, "seed", int, 0)
    try:
        Noise(seed)
    except RequestError as error:
        raise invalid("seed", str(error)) from error
    return seed


def parse_options(fields: Mapping[str, Any]) -> SpeechOptions:
    """The runtime's options, checked one by one, so that an error names its field."""
    values = {}
    for name, option in OPTION_FIELDS.items():
        if name in fields:
            try:
                value = float(typed(fields, name, float, 0.0))
                SpeechOptions(**{option: value})  # type: ignore[arg-type]
            except OverflowError as error:
                raise invalid(name, f"{name}: expected a smaller number") from error
            except RequestError as error:
                raise invalid(name, f"{name}: {str(error).partition(': ')[2]}") from error
            values[option] = value
    return SpeechOptions(**values)  # type: ignore[arg-type]


def typed(fields: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """A field of a JSON type; an integer is a number too, but true is not an integer."""
    value = fields.get(name, default)
    accepted = (int, float) if kind is float else (kind,)
    if value is not default and (not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool)):
        raise invalid(name, f"{name}: expected {_TYPES[kind]}, got {_json_type(value)}")
    return value


_TYPES = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def _json_type(value: Any) -> str:
    return "null" if value is None else _TYPES[type(value)]
