"""Cleaners: named steps from written text to the plain characters that a voice was trained on.

The results are those of NVIDIA/tacotron2 `text/cleaners.py` (from keithito/tacotron), to the letter.
Non-ASCII characters go through Unidecode, with which the published checkpoints were trained; NVIDIA's
DeepLearningExamples has replaced it by a table of its own since 2021 and differs there: it makes "ue" of
"ü" (Unidecode: "u"), "E" of "€" ("EUR") and nothing of "£" ("PS", so that english_cleaners never see a
pound sign).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from unicodedata import category

from unidecode import unidecode

from .errors import TextError, quote
from .numbers import normalize_numbers

Cleaner = Callable[[str], str]

DEFAULT_CLEANERS = ("english_cleaners",)

ABBREVIATIONS = {
    "mrs": "misess",  # sic: so spelt, the voices learnt it
    "mr": "mister",
    "dr": "doctor",
    "st": "saint",
    "co": "company",
    "jr": "junior",
    "maj": "major",
    "gen": "general",
    "drs": "doctors",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "esq": "esquire",
    "ltd": "limited",
    "col": "colonel",
    "ft": "fort",
}

# One pass each, in this order: "St.Co." loses its second word boundary in the first pass, and is "saintco."
_ABBREVIATION_PATTERNS = [
    (re.compile(rf"\b{short}\.", re.IGNORECASE), spoken) for short, spoken in ABBREVIATIONS.items()
]
_WHITESPACE = re.compile(r"\s+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SILENT_CATEGORIES = ("Mn", "Me", "Cf")  # accents, joiners and the like: nobody misses them


def lowercase(text: str) -> str:
    """Every letter in lower case."""
    return text.lower()


def collapse_whitespace(text: str) -> str:
    """Every run of whitespace as one space; a leading and a trailing one stay."""
    return _WHITESPACE.sub(" ", text)


def convert_to_ascii(text: str) -> str:
    """Transliterate with Unidecode; a character that it does not know is left out."""
    return unidecode(_SURROGATES.sub("", text))  # surrogates it leaves out too, but with a warning of its own


def expand_numbers(text: str) -> str:
    """Write numbers and amounts in words."""
    return normalize_numbers(text)


def expand_abbreviations(text: str) -> str:
    """Write "Mr.", "St." and other titles in full."""
    for pattern, spoken in _ABBREVIATION_PATTERNS:
        text = pattern.sub(spoken, text)
    return text


def basic_cleaners(text: str) -> str:
    """For a voice whose symbols are its language's own characters: no transliteration."""
    return collapse_whitespace(lowercase(text))


def transliteration_cleaners(text: str) -> str:
    """For a language that is read from its ASCII transliteration."""
    return collapse_whitespace(lowercase(convert_to_ascii(text)))


def english_cleaners(text: str) -> str:
    """For English: transliterate, then write numbers and abbreviations in full."""
    text = lowercase(convert_to_ascii(text))
    return collapse_whitespace(expand_abbreviations(expand_numbers(text)))


# NVIDIA's code takes any function of its module by name, the single steps included.
CLEANERS: dict[str, Cleaner] = {
    cleaner.__name__: cleaner
    for cleaner in (
        english_cleaners,
        transliteration_cleaners,
        basic_cleaners,
        lowercase,
        collapse_whitespace,
        convert_to_ascii,
        expand_numbers,
        expand_abbreviations,
    )
}
_TRANSLITERATING = (english_cleaners, transliteration_cleaners, convert_to_ascii)


def find_cleaners(names: Sequence[str]) -> list[Cleaner]:
    """The cleaners of these names, in order; TextError if one is unknown or `names` is no list of names."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TextError(f"cleaners: expected a list such as ['english_cleaners'], got {quote(names)}")
    for name in names:
        if not isinstance(name, str) or name not in CLEANERS:
            raise TextError(f"cleaners: unknown cleaner {quote(name)}; known are {', '.join(CLEANERS)}")
    return [CLEANERS[name] for name in names]


def untransliterable(text: str, cleaners: Sequence[Cleaner]) -> list[str]:
    """The characters of `text` that these cleaners leave out for want of a transliteration, each once."""
    if text.isascii() or not any(cleaner in _TRANSLITERATING for cleaner in cleaners):
        return []
    return [
        character
        for character in dict.fromkeys(text)
        if not character.isascii() and category(character) not in _SILENT_CATEGORIES and not convert_to_ascii(character)
    ]
