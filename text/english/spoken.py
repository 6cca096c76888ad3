"""The order of the rules, the characters that they see, and the symbols that none of them has read."""

from __future__ import annotations

import re
from unicodedata import category

from unidecode import unidecode

from ..characters import SILENT_CATEGORIES
from .addresses import expand_addresses
from .amounts import expand_numbers
from .dates import expand_dates, expand_times, kept_stop
from .tables import ABBREVIATIONS, AFTER, BEFORE, KEPT, STARTERS, SUPERSCRIPTS, VULGAR, WORDS

_VULGAR = re.compile(rf"([0-9] ?)?([{''.join(VULGAR)}])")
_POWER = re.compile("(?<=[0-9])(?![²³](?![⁰¹²³⁴⁵⁶⁷⁸⁹]))[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_ABBREVIATION = re.compile(
    rf"(?<![\w.])({'|'.join(map(re.escape, sorted(ABBREVIATIONS, key=len, reverse=True)))})(\.)(?!\w)",
    re.IGNORECASE | re.ASCII,
)
_STREET = re.compile(rf"(?<=[a-z] )St(\.)(?= [a-z]|,|\s*$| (?:{'|'.join(STARTERS)})\b)")
_WORDS = re.compile(
    "|".join(rf"(?<!\w){re.escape(word)}" + ("" if word.endswith("/") else r"(?!\w)") for word in WORDS)
)
_PLUSES = re.compile(r"(?<=\w)\+\+")
_SYMBOL = re.compile(f"[{re.escape(''.join(AFTER))}]")
_SPACE_BEFORE_MARK = re.compile(r"(?<! ) +(?=[,.;:!?)])")


def expand_notations(text: str) -> str:
    """Write a text's notations in words that consist of ASCII letters; the case of other words is kept."""
    given = text
    text = expand_addresses(_transliterate(text))
    text = expand_times(expand_dates(text))
    text = _WORDS.sub(lambda match: WORDS[match[0]], text)
    text = _STREET.sub(lambda match: "Street" + kept_stop(match, 1), text)
    text = _ABBREVIATION.sub(_abbreviation, text)
    text = expand_numbers(text)
    text = _SYMBOL.sub(lambda match: AFTER[match[0]], _PLUSES.sub(" plus plus ", text))
    text = _SPACE_BEFORE_MARK.sub("", text)
    return text if given[:1].isspace() else text.lstrip()


def has_word_for(character: str) -> bool:
    """True if `expand_notations` says a character that Unidecode has no word for, or drops it on purpose."""
    return character in BEFORE or character in AFTER or character in KEPT


def _transliterate(text: str) -> str:
    """ASCII and the characters in KEPT. A character without a transliteration becomes a space, an accent nothing."""
    if not text.isascii():
        text = _POWER.sub(lambda match: "^" + "".join(SUPERSCRIPTS[sign] for sign in match[0]), text)
        text = "".join(character if character < "\x80" else _ascii(character) for character in text)
        text = _VULGAR.sub(lambda match: (f"{match[1].strip()} " if match[1] else "") + VULGAR[match[2]], text)
    return text


def _ascii(character: str) -> str:
    if character in KEPT:
        return character
    if character in BEFORE:
        return _transliterate(BEFORE[character])
    if "\ud800" <= character <= "\udfff":
        return ""
    return unidecode(character) or ("" if category(character) in SILENT_CATEGORIES else " ")


def _abbreviation(match: re.Match[str]) -> str:
    spoken, may_end = ABBREVIATIONS[match[1].lower()]
    return spoken + (kept_stop(match, 2) if may_end else "")
