"""The part of SSML 1.1 that this toolkit can speak: a document becomes parts of text with pauses, rates and volumes.

    <speak>Call <say-as interpret-as="digits">112</say-as>. <break time="1s"/> <prosody rate="slow">Now.</prosody>
    </speak>

Expat reads it, with handlers that refuse a DTD, and with it every entity but XML's own five. An element that is not
known is reported, and its text is spoken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from xml.parsers import expat

from .english.say_as import SAY_AS
from .errors import MarkupError, quote
from .pauses import PAUSE_MAX, Part, PausedText, join_silent_parts

CHARACTERS_MAX = 200_000
DEPTH_MAX = 32
REMARKS_MAX = 10
RATE_RANGE = (0.5, 2.0)
VOLUME_RANGE = (0.0, 4.0)
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}  # seconds
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.3, "x-fast": 1.7}
VOLUMES = {"silent": 0.0, "x-soft": 0.25, "soft": 0.5, "medium": 1.0, "default": 1.0, "loud": 1.5, "x-loud": 2.0}
ALPHABETS = ("x-arpabet", "arpabet", "x-cmu-arpabet", "cmu-arpabet", "x-cmu")
PLAIN = frozenset("speak p s paragraph sentence sub phoneme say-as prosody w token".split())  # with text of their own
UNSPOKEN = frozenset("desc metadata meta lexicon lookup".split())  # what they contain is not for ears
_TIME = re.compile(r"\+?([0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})(ms|s)")
_NUMBER = re.compile(r"([+-]?)([0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})(%|dB)?")
_PHONE = re.compile(r"[A-Z]{1,3}[0-2]?", re.IGNORECASE | re.ASCII)
_SPACE = re.compile(r"\s+")

Attributes = Mapping[str, str]


@dataclass(frozen=True)
class SpokenDocument:
    """A document's pieces, and remarks on what is not spoken as it asks."""

    text: PausedText
    remarks: tuple[str, ...]  # for people, a line each


def is_ssml(text: str) -> bool:
    """True if a text begins as an SSML document does."""
    return re.match(r"\s{0,1000}(?:<\?xml[^>]{0,200}\?>\s{0,1000})?<speak[\s/>]", text) is not None


def parse_ssml(document: str) -> SpokenDocument:
    """Read a document. Raises MarkupError for one that is not XML, has a DTD, or asks for what cannot be."""
    if not isinstance(document, str):
        raise MarkupError(f"ssml: expected a string, got {type(document).__name__} {quote(document)}")
    if len(document) > CHARACTERS_MAX:
        raise MarkupError(
            f"ssml: expected at most {CHARACTERS_MAX} characters, got {len(document)}; split the document"
        )
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.EntityDeclHandler = _refuse_dtd
    parser.ExternalEntityRefHandler = _refuse_dtd
    try:
        parser.Parse(document.encode("utf-8"), True)
    except UnicodeEncodeError as error:
        raise MarkupError("ssml: contains half a surrogate pair; send whole characters") from error
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}"
        raise MarkupError(f"ssml: {where}: {expat.ErrorString(error.code)}; write & as &amp; and < as &lt;") from error
    return reader.finish()


def _refuse_dtd(*_: object) -> int:
    raise MarkupError("ssml: a DTD is not accepted; leave <!DOCTYPE …> and entities out")


@dataclass(frozen=True)
class _Element:
    """An open element: how its text is spoken."""

    name: str = ""
    rate: float = 1.0
    volume: float = 1.0
    is_silent: bool = False  # its text is not spoken
    say: Callable[[str], str | None] | None = None  # turns its whole text into words; None: it cannot
    say_name: str = ""
    text: list[str] = field(default_factory=list)  # collected for `say`


class _Reader:
    """Collects the parts of a document; its methods are expat's handlers."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._parts: list[Part] = []
        self._text: list[str] = []  # since the last part
        self._before = 0.0
        self._remarks: dict[str, None] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        if not self._open and name != "speak":
            raise MarkupError(f"ssml: expected a document in <speak>, got <{name[:40]}>")
        if len(self._open) >= DEPTH_MAX:
            raise MarkupError(f"ssml: elements are nested deeper than {DEPTH_MAX}")
        parent = self._open[-1] if self._open else _Element()
        element = replace(parent, name=name, text=parent.text)
        if name in UNSPOKEN:
            element = replace(element, is_silent=True)
        elif name == "prosody":
            self._flush()
            element = self._prosody(element, attributes)
        elif name == "break":
            self._break(attributes)
        elif name == "sub" and "alias" in attributes:
            self._say(attributes["alias"])
            element = replace(element, is_silent=True)
        elif name == "phoneme":
            element = self._phoneme(element, attributes)
        elif name == "say-as":
            element = self._say_as(element, attributes)
        elif name in ("p", "paragraph", "s", "sentence"):
            self._end_line(name)
        elif name not in PLAIN:
            self._remark(f"<{name[:40]}> is not known; its text is spoken")
        self._open.append(element)

    def end(self, name: str) -> None:
        if name == "prosody":
            self._flush()
        element = self._open.pop()
        parent = self._open[-1] if self._open else _Element()
        if element.say is not None and element.say is not parent.say:
            text = "".join(element.text)
            spoken = element.say(text.strip())
            if spoken is None:
                self._remark(f"<say-as interpret-as={quote(element.say_name)}> cannot read {quote(text.strip())}")
            self._say(text if spoken is None else spoken)
        elif name in ("p", "paragraph", "s", "sentence"):
            self._end_line(name)

    def characters(self, data: str) -> None:
        element = self._open[-1]
        if not element.is_silent:
            (self._text if element.say is None else element.text).append(_SPACE.sub(" ", data))

    def finish(self) -> SpokenDocument:
        self._flush()
        text = join_silent_parts(self._before, self._parts)
        remarks = [f"ssml: {remark}" for remark in self._remarks]
        more = len(remarks) - REMARKS_MAX
        return SpokenDocument(text, tuple(remarks[:REMARKS_MAX]) + ((f"ssml: and {more} more",) if more > 0 else ()))

    def _say(self, text: str) -> None:
        element = self._open[-1] if self._open else _Element()
        if not element.is_silent:
            (self._text if element.say is None else element.text).append(_SPACE.sub(" ", text))

    def _end_line(self, name: str) -> None:
        element = self._open[-1] if self._open else _Element()
        if element.say is None and not element.is_silent:
            self._text.append("\n\n" if name.startswith("p") else "\n")

    def _flush(self, pause: float | None = None) -> None:
        """End a part. pause: seconds of silence after it; None: what its last mark asks for."""
        text, self._text = "".join(self._text), []
        element = self._open[-1] if self._open else _Element()
        if text.strip():
            self._parts.append(Part(text.strip(), pause, element.rate, element.volume))
        elif pause and self._parts:
            self._parts[-1] = self._parts[-1]._replace(pause=(self._parts[-1].pause or 0.0) + pause)
        elif pause:
            self._before += pause

    def _remark(self, remark: str) -> None:
        self._remarks[remark] = None

    def _break(self, attributes: Attributes) -> None:
        time, strength = attributes.get("time", "").strip(), attributes.get("strength", "medium").strip()
        if time:
            match = _TIME.fullmatch(time)
            seconds = float(match[1]) / (1000.0 if match[2] == "ms" else 1.0) if match else -1.0
            if not 0.0 <= seconds <= PAUSE_MAX:
                raise MarkupError(
                    f"ssml: <break time={quote(time)}>: expected 0 to {PAUSE_MAX:g} seconds, as 500ms or 1.5s"
                )
        elif strength in STRENGTHS:
            seconds = STRENGTHS[strength]
        else:
            raise MarkupError(f"ssml: <break strength={quote(strength)}>: expected one of {', '.join(STRENGTHS)}")
        if seconds > 0.0 and not (self._open and (self._open[-1].is_silent or self._open[-1].say)):
            self._flush(seconds)

    def _prosody(self, element: _Element, attributes: Attributes) -> _Element:
        for name in sorted(set(attributes) - {"rate", "volume"}):
            self._remark(f"<prosody {name[:40]}> is not supported")
        rate = _factor("rate", attributes["rate"], RATES) if "rate" in attributes else 1.0
        volume = _factor("volume", attributes["volume"], VOLUMES) if "volume" in attributes else 1.0
        return replace(
            element,
            rate=self._within("rate", element.rate * rate, RATE_RANGE),
            volume=self._within("volume", element.volume * volume, VOLUME_RANGE),
        )

    def _within(self, name: str, value: float, limits: tuple[float, float]) -> float:
        nearest = min(max(value, limits[0]), limits[1])
        if nearest != value:
            self._remark(
                f"<prosody {name}>: {value:g} is outside {limits[0]:g} to {limits[1]:g}; {nearest:g} is spoken"
            )
        return nearest

    def _phoneme(self, element: _Element, attributes: Attributes) -> _Element:
        alphabet, phones = attributes.get("alphabet", "ipa"), attributes.get("ph", "").split()
        if alphabet not in ALPHABETS:
            self._remark(f"<phoneme alphabet={quote(alphabet)}> is not known, only x-arpabet; its text is spoken")
        elif not phones or not all(map(_PHONE.fullmatch, phones)):
            self._remark(f"<phoneme ph={quote(attributes.get('ph', ''))}> is not ARPAbet; its text is spoken")
        else:
            self._say(f"{{{' '.join(phones).upper()}}}")
            return replace(element, is_silent=True)
        return element

    def _say_as(self, element: _Element, attributes: Attributes) -> _Element:
        kind = attributes.get("interpret-as", "")
        rule = SAY_AS.get(kind)
        if rule is None:
            self._remark(f"<say-as interpret-as={quote(kind)}> is not known; its text is spoken")
            return element
        form = attributes.get("format", "")
        return replace(element, say=lambda text: rule(text, form), say_name=kind, text=[])


def _factor(name: str, value: str, names: Mapping[str, float]) -> float:
    """A rate or volume as a factor: a name, 120%, +20%, -6dB, or a number (of a volume: from 0 to 100)."""
    value = value.strip()
    if value in names:
        return names[value]
    match = _NUMBER.fullmatch(value)
    if match is not None:
        sign, number, unit = match[1], float(match[2]), match[3]
        signed = -number if sign == "-" else number
        if unit == "%":
            return max(1.0 + signed / 100.0, 0.0) if sign else number / 100.0
        if name == "volume" and unit == "dB":
            return float(10.0 ** (min(signed, 100.0) / 20.0))
        if unit is None and not sign:
            return number / 100.0 if name == "volume" else number
    ways = ", ".join(names)
    example = "+6dB, 80%" if name == "volume" else "120%, -20%"
    raise MarkupError(f"ssml: <prosody {name}={quote(value)}>: expected one of {ways}, or as in {example}")
