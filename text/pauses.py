"""Pauses written into a text, such as "One. [pause 0.5s] Two."."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import TextError, quote

PAUSE_MAX = 10.0  # seconds of one pause
# A number follows, so that "[pause for applause]" is a text like any other.
_MARK = re.compile(r"\[pause\s{1,8}([0-9.+-][^\[\]]{0,19})\]", re.IGNORECASE | re.ASCII)
_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|)\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class PausedText:
    """A text without its marks: the parts between them, and how long to pause before and after each."""

    before: float  # seconds of silence before the first part
    parts: tuple[tuple[str, float], ...]  # (part, seconds of silence after it)

    @property
    def text(self) -> str:
        """What is left to speak."""
        return " ".join(part for part, _ in self.parts)


def split_at_pauses(text: str) -> PausedText:
    """Take the marks [pause 0.5s] and [pause 500ms] out of a text; marks in a row add up.

    A part without a letter or digit, such as the full stop in "Wait [pause 1s].", is joined to the part before it.
    Raises TextError for a mark that does not say from 0 to 10 seconds.
    """
    if not isinstance(text, str) or "[" not in text:
        return PausedText(0.0, ((text, 0.0),))
    pieces = _MARK.split(text)  # text, length, text, length, …, text
    before, parts = 0.0, [(pieces[0], 0.0)]
    if len(pieces) > 1 and not _is_spoken(pieces[0]):
        parts = []
    for length, part in zip(pieces[1::2], pieces[2::2], strict=True):
        seconds = _seconds(length)
        if parts:
            parts[-1] = parts[-1][0], parts[-1][1] + seconds
        else:
            before += seconds
        if _is_spoken(part):
            parts.append((part, 0.0))
        elif parts:
            parts[-1] = parts[-1][0].rstrip() + part.strip(), parts[-1][1]
    return PausedText(before, tuple(parts))


def _is_spoken(part: str) -> bool:
    return any(character.isalnum() for character in part)


def _seconds(length: str) -> float:
    match = _LENGTH.fullmatch(length)
    seconds = -1.0 if match is None else float(match[1]) / (1000.0 if match[2].lower() == "ms" else 1.0)
    if not 0.0 <= seconds <= PAUSE_MAX:
        mark = quote(f"[pause {length}]")
        raise TextError(f"text: {mark}: expected 0 to {PAUSE_MAX:g} seconds, as in [pause 0.5s] or [pause 500ms]")
    return seconds
