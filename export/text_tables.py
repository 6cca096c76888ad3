"""Writes what the text front end of other languages needs as data: transliteration, number words, word lists, pauses.

The C++ runtime reads the file, so that it converts a text to the same ids and pieces as Python without a copy of
Unidecode, inflect or Unicode's character database. Layout (JSON, UTF-8):

    format                     1
    libraries                  versions of what the tables were generated from
    transliteration            [first code point, ASCII texts of it and its successors, joined by U+001F], ...
    lower                      [character, lower case] where they differ; the capital sigma's final form is a rule
    cased, case_ignorable      code points that decide that form, as [first, last, first, last, ...]
    alphabetic, alphanumeric, lowercase, uppercase, titlecase, digits, printable, silent, whitespace     likewise;
                               silent: dropped without being reported
    normalization              canonical, compatible: complete decompositions as [characters, texts of them, joined by
                               U+001F]; compositions: likewise, with the two parts of each; classes: combining classes
                               as [class, ranges], ...
    patterns                   regular expressions of Python's text/ by module and name: [pattern, flags]; flags: a for
                               ASCII, i for any case
    numbers                    units, teens, tens, powers of 1000, [ending, ordinal ending], ...
    abbreviations              [abbreviation, spoken], in the order of the passes
    before_more, after_name, before_number, after_number, dates      words whose full stop may not end a sentence
    starters, after_time       words that decide about it, after them
    equivalents                [character, texts that stand for it], ...
    english                    words of text/english/tables.py: units, currencies, months and the like; signs: [pattern
                               as above, words], ...
    ssml                       names and limits of text/ssml.py
    pauses                     by_mark: [marks, seconds], ...; within_clause, paragraph, fade: seconds; closing: marks
                               skipped
"""

from __future__ import annotations

import json
import pkgutil
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from unicodedata import category, combining, decomposition, normalize, unidata_version

import unidecode

from ..runtime import pieces
from ..runtime.bundle.manifest import GraphFile
from ..runtime.bundle.reading import file_sha256
from ..text import cleaners, lexicon, sentences, ssml
from ..text.characters import EQUIVALENTS, SILENT_CATEGORIES
from ..text.english import addresses, amounts, dates, numerals, say_as, spoken, tables
from ..text.numbers import load_inflect

FILE_NAME = "text_tables.json"
FORMAT = 1
SEPARATOR = "\x1f"
_UNASSIGNED = ("Cn", "Co", "Cs")  # also for private use, and surrogates


def write_text_tables(folder: Path) -> GraphFile:
    """Write the tables to a bundle's folder and return the manifest's entry."""
    path = folder / FILE_NAME
    path.write_text(json.dumps(text_tables(), ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    return GraphFile(file=path.name, sha256=file_sha256(path))


@cache  # takes seconds
def text_tables() -> dict[str, object]:
    inflect = load_inflect()
    return {
        "format": FORMAT,
        "libraries": {
            "python": platform.python_version(),
            "unicode": unidata_version,
            "unidecode": version("unidecode"),
            "inflect": version("inflect"),
        },
        "transliteration": list(_transliteration()),
        "lower": [[character, character.lower()] for character in _characters() if character.lower() != character],
        "cased": _ranges(lambda character: _final_sigma(character + "Σ")),
        "case_ignorable": _ranges(lambda c: _final_sigma("a" + c + "Σ") and not _final_sigma(c + "Σ")),
        "alphabetic": _ranges(str.isalpha),
        "alphanumeric": _ranges(str.isalnum),
        "lowercase": _ranges(str.islower),
        "uppercase": _ranges(str.isupper),
        "titlecase": _ranges(lambda character: category(character) == "Lt"),
        "digits": _ranges(str.isdigit),
        "printable": _ranges(str.isprintable),
        "silent": _ranges(lambda character: category(character) in SILENT_CATEGORIES),
        "whitespace": _ranges(str.isspace),
        "normalization": _normalization(),
        "patterns": _patterns(),
        "numbers": {
            "units": inflect.unit,
            "teens": inflect.teen,
            "tens": inflect.ten,
            "powers": [power.strip() for power in inflect.mill],
            "ordinals": list(inflect.ordinal.items()),
        },
        "abbreviations": list(cleaners.ABBREVIATIONS.items()),
        "before_more": sorted(sentences.BEFORE_MORE),
        "after_name": sorted(sentences.AFTER_NAME),
        "before_number": sorted(sentences.BEFORE_NUMBER),
        "after_number": sorted(sentences.AFTER_NUMBER),
        "dates": sorted(sentences.DATES),
        "starters": sorted(sentences.STARTERS),
        "after_time": sorted(tables.AFTER_TIME),
        "equivalents": list(EQUIVALENTS.items()),
        "english": _english() | {"signs": [[_pattern(sign), words] for sign, words in amounts.SIGNS]},
        "ssml": {name: value for name, value in _public(ssml).items() if name != "say_as"},  # whose rules are code
        "pauses": {
            "by_mark": pieces.PAUSES,
            "within_clause": pieces.PAUSE_WITHIN_CLAUSE,
            "paragraph": pieces.PARAGRAPH_PAUSE,
            "closing": pieces.CLOSING,
            "fade": pieces.FADE_SECONDS,
        },
    }


def _english() -> dict[str, object]:
    """Collect the words of English notations."""
    return _public(tables)


def _public(module: ModuleType) -> dict[str, object]:
    """Collect the public constants of a module, by their names in lower case, with its sets sorted."""
    named = {name.lower(): value for name, value in vars(module).items() if name.isupper() and name[0] != "_"}
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in named.items()}
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in plain.items()}


def _patterns() -> dict[str, list[str]]:
    """The patterns that the rules consist of, as "module.name"."""
    modules = (sentences, lexicon, ssml, addresses, amounts, dates, numerals, say_as, spoken)
    return {
        f"{module.__name__.rpartition('.')[2]}.{name.strip('_').lower()}": _pattern(value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }


def _pattern(pattern: re.Pattern[str]) -> list[str]:
    return [pattern.pattern, "a" * bool(pattern.flags & re.ASCII) + "i" * bool(pattern.flags & re.IGNORECASE)]


def _normalization() -> dict[str, object]:
    characters = [character for character in _characters() if not "가" <= character <= "힣"]  # Hangul is arithmetic
    canonical = {c: normalize("NFD", c) for c in characters if normalize("NFD", c) != c}
    compatible = {c: normalize("NFKD", c) for c in characters if normalize("NFKD", c) != normalize("NFD", c)}
    steps = {c: "".join(chr(int(code, 16)) for code in decomposition(c).split()) for c in canonical}
    composed = {c: step for c, step in steps.items() if len(step) == 2 and normalize("NFC", step) == c}
    classes: dict[int, list[str]] = {}
    for mark in filter(combining, characters):
        classes.setdefault(combining(mark), []).append(mark)
    return {
        "canonical": _columns(canonical),
        "compatible": _columns(compatible),
        "compositions": _columns(composed),
        "classes": [[own, _runs(marks)] for own, marks in sorted(classes.items())],
    }


def _columns(texts: dict[str, str]) -> list[str]:
    return ["".join(texts), SEPARATOR.join(texts.values())]


@cache
def _characters() -> list[str]:
    """List every assigned character; the others have none of the properties that the tables describe."""
    return [character for character in map(chr, range(sys.maxunicode + 1)) if category(character) not in _UNASSIGNED]


def _final_sigma(text: str) -> bool:
    return text.lower().endswith("ς")


def _ranges(holds: Callable[[str], bool]) -> list[int]:
    """List the first and the last code point of every run of characters for which `holds`."""
    return _runs(filter(holds, _characters()))


def _runs(characters: Iterable[str]) -> list[int]:
    """List the first and the last code point of every run of these characters, which are in order."""
    ranges: list[int] = []
    for code in map(ord, characters):
        if ranges and ranges[-1] == code - 1:
            ranges[-1] = code
        else:
            ranges += [code, code]
    return ranges


def _transliterated() -> Iterator[int]:
    """Yield the code points beyond ASCII in Unidecode's sections: a module, such as x0e4, for each 256 code points."""
    names = (module.name for module in pkgutil.iter_modules(unidecode.__path__))
    for section in sorted(int(name[1:], 16) for name in names if re.fullmatch("x[0-9a-f]{3}", name)):
        yield from range(max(0x80, section << 8), (section + 1) << 8)


def _transliteration() -> Iterator[tuple[int, str]]:
    """Yield runs of characters beyond ASCII that Unidecode knows: the first code point, and their texts."""
    first, texts = 0, list[str]()
    for code in _transliterated():
        text = cleaners.convert_to_ascii(chr(code))
        if texts and (not text or code != first + len(texts)):
            yield first, SEPARATOR.join(texts)
            texts = []
        if text:
            first = first if texts else code
            texts.append(text)
    if texts:
        yield first, SEPARATOR.join(texts)
