"""Cleaners: named steps from written text to the plain characters that a voice was trained on.

The results are identical to those of NVIDIA/tacotron2 `text/cleaners.py` (from keithito/tacotron). Non-ASCII
characters are transliterated by Unidecode, as in the training of the published checkpoints. NVIDIA's
DeepLearningExamples has used its own table since 2021, with different results: "ü" becomes "ue" (Unidecode: "u"),
"€" becomes "E" ("EUR"), and "£" is dropped (Unidecode: "PS", so english_cleaners never see a pound sign).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from unicodedata import category

from unidecode import unidecode

from .characters import SILENT_CATEGORIES
from .english import expand_notations
from .english.spoken import has_word_for
from .errors import TextError, quote
from .numbers import normalize_numbers

Cleaner = Callable[[str], str]

DEFAULT_CLEANERS = ("english_cleaners",)

ABBREVIATIONS = {
    "mrs": "misess",  # sic: the published voices were trained with this spelling
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

# One pass each, in this order. "St.Co." becomes "saintCo." in the pass for "st", where "Co." no longer starts a word.
_ABBREVIATION_PATTERNS = [
    (re.compile(rf"\b{short}\.", re.IGNORECASE), spoken) for short, spoken in ABBREVIATIONS.items()
]
_WHITESPACE = re.compile(r"\s+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def lowercase(text: str) -> str:
    """Convert every letter to lower case."""
    return text.lower()


def collapse_whitespace(text: str) -> str:
    """Replace every run of whitespace, at the ends too, by one space."""
    return _WHITESPACE.sub(" ", text)


def convert_to_ascii(text: str) -> str:
    """Transliterate with Unidecode; characters that it does not know are dropped."""
    return unidecode(_SURROGATES.sub("", text))  # Unidecode would drop surrogates too, but warn


def expand_numbers(text: str) -> str:
    """Write numbers and amounts in words."""
    return normalize_numbers(text)


def expand_abbreviations(text: str) -> str:
    """Write "Mr.", "St." and other titles in full."""
    for pattern, spoken in _ABBREVIATION_PATTERNS:
        text = pattern.sub(spoken, text)
    return text


def basic_cleaners(text: str) -> str:
    """Clean text without transliteration, for a voice whose symbols include its language's own characters."""
    return collapse_whitespace(lowercase(text))


def transliteration_cleaners(text: str) -> str:
    """Clean text for a voice that was trained on ASCII transliterations."""
    return collapse_whitespace(lowercase(convert_to_ascii(text)))


def english_cleaners(text: str) -> str:
    """Clean English text: transliterate, then write numbers and abbreviations in full."""
    text = lowercase(convert_to_ascii(text))
    return collapse_whitespace(expand_abbreviations(expand_numbers(text)))


def english_cleaners_extended(text: str) -> str:
    """Clean English text as english_cleaners does, after writing its notations (text/english) as people say them.

    Not NVIDIA's, but it suits every voice that was trained with english_cleaners: its words are of the same letters.
    """
    return english_cleaners(expand_notations(text))


# NVIDIA's code accepts any function of its module by name, including the single steps.
CLEANERS: dict[str, Cleaner] = {
    cleaner.__name__: cleaner
    for cleaner in (
        english_cleaners,
        english_cleaners_extended,
        transliteration_cleaners,
        basic_cleaners,
        lowercase,
        collapse_whitespace,
        convert_to_ascii,
        expand_numbers,
        expand_abbreviations,
    )
}
_TRANSLITERATING = (english_cleaners, english_cleaners_extended, transliteration_cleaners, convert_to_ascii)


def find_cleaners(names: Sequence[str]) -> list[Cleaner]:
    """Return the cleaners of these names, in order. Raises TextError if one is unknown or `names` is not a list."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TextError(f"cleaners: expected a list such as ['english_cleaners'], got {quote(names)}")
    for name in names:
        if not isinstance(name, str) or name not in CLEANERS:
            raise TextError(f"cleaners: unknown cleaner {quote(name)}; known cleaners: {', '.join(CLEANERS)}")
    return [CLEANERS[name] for name in names]


def untransliterable(text: str, cleaners: Sequence[Cleaner]) -> list[str]:
    """List the characters of `text`, each once, that these cleaners drop because they have no transliteration."""
    if text.isascii() or not any(cleaner in _TRANSLITERATING for cleaner in cleaners):
        return []
    reads_notations = english_cleaners_extended in cleaners
    return [
        character
        for character in dict.fromkeys(text)
        if not character.isascii()
        and category(character) not in SILENT_CATEGORIES
        and not convert_to_ascii(character)
        and not (reads_notations and has_word_for(character))
    ]
