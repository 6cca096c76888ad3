"""Pauses written into a text, such as "One. [pause 0.5s] Two."."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .errors import MarkupError, quote

PAUSE_MAX = 10.0  # seconds of one pause
# A number follows, so that "[pause for applause]" is a text like any other.
_MARK = re.compile(r"\[pause(?:\s{1,8}|:\s{0,8})([0-9.+-][^\[\]]{0,19})\]", re.IGNORECASE | re.ASCII)
_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|)\s*", re.IGNORECASE | re.ASCII)


class Part(NamedTuple):
    """A part of a text, and how it is spoken."""

    text: str
    pause: float | None  # seconds of silence after it; None: what the punctuation at its end asks for
    rate: float = 1.0  # times the request's
    volume: float = 1.0


@dataclass(frozen=True)
class PausedText:
    """A text without its marks: the parts between them, and how long to pause before and after each."""

    before: float  # seconds of silence before the first part
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text that is left to speak."""
        return " ".join(part.text for part in self.parts)


def split_at_pauses(text: str) -> PausedText:
    """Take the marks [pause 0.5s] and [pause:500ms] out of a text; marks in a row add up.

    A part without a letter or digit, such as the full stop in "Wait [pause 1s].", is joined to the part before it.
    Raises MarkupError for a mark that does not say from 0 to 10 seconds.
    """
    if not isinstance(text, str) or "[" not in text:
        return PausedText(0.0, (Part(text, 0.0),))
    first, *rest = _MARK.split(text)  # text, length, text, length, …, text
    if not rest:
        return PausedText(0.0, (Part(text, 0.0),))
    pauses = [*map(_seconds, rest[::2]), 0.0]
    parts = [Part(part, pause) for part, pause in zip([first, *rest[1::2]], pauses, strict=True)]
    return join_silent_parts(0.0, parts)


def join_silent_parts(before: float, parts: Sequence[Part]) -> PausedText:
    """Join parts without a letter or digit, and their pauses, to the part before; of the first ones only pauses remain.

    before: seconds of silence before them.
    """
    joined: list[Part] = []
    added: list[list[str]] = []  # texts after that of each joined part
    for part in parts:
        if _is_spoken(part.text):
            joined.append(part)
            added.append([])
        elif joined:
            last = joined[-1]
            pause = part.pause if last.pause is None else last.pause + (part.pause or 0.0)
            joined[-1] = last._replace(pause=pause)
            added[-1].append(part.text.strip())
        else:
            before += part.pause or 0.0
    return PausedText(before, tuple(map(_with_texts, joined, added)))


def _with_texts(part: Part, added: Sequence[str]) -> Part:
    return part._replace(text=part.text.rstrip() + "".join(added)) if added else part


def _is_spoken(part: str) -> bool:
    return any(character.isalnum() for character in part)


def _seconds(length: str) -> float:
    match = _LENGTH.fullmatch(length)
    seconds = -1.0 if match is None else float(match[1]) / (1000.0 if match[2].lower() == "ms" else 1.0)
    if not 0.0 <= seconds <= PAUSE_MAX:
        mark = quote(f"[pause {length}]")
        raise MarkupError(f"text: {mark}: expected 0 to {PAUSE_MAX:g} seconds, as in [pause 0.5s] or [pause 500ms]")
    return seconds
