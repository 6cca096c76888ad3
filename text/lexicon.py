"""Lexicons: how a voice says words that it gets wrong, as a respelling or as ARPAbet in braces.

A file has one entry per line, "word = spoken"; empty lines, and lines that begin with #, mean nothing:

    # names
    Nguyen = win
    New York Times = {N UW1 Y AO1 R K} times
    US = U S
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from .braces import brace_groups
from .characters import compose
from .errors import TextError, quote

ENTRIES_MAX = 10_000
WORD_MAX = 100  # characters of an entry's word, or words
SPOKEN_MAX = 200  # characters of what is spoken for it
GROWTH_MAX = 20  # times the length of a text that its replacements may reach
GROWTH_FREE = 10_000  # characters that it may reach in any case
SEPARATOR = "="
_TOKEN = re.compile(r"\w+(?:['’]\w+)*['’]?|\s+|[^\w\s]")
_INFLECTED = "s'"  # what forms of words end with
_PLURAL_LETTERS = 3  # least letters of a word whose plural is found too
_SIBILANTS = frozenset("S Z SH ZH CH JH".split())
_VOICELESS = frozenset("P T K F TH".split())


class _Tree(dict[str, "_Tree"]):
    """Entries by their tokens."""

    spoken: str | None = None  # for the entry that ends here


_NOTHING = _Tree()


class Lexicon:
    """Replaces words of a text. Immutable; equal if the entries are.

    An entry is found whatever the case, unless it has two or more letters, all of them capitals, as "US". The longest
    entry wins, and an exact spelling. Plurals and possessives of an entry are found too: the ending is added to a
    respelling, and its phone to ARPAbet.
    """

    def __init__(self, entries: Mapping[str, str] | None = None) -> None:
        """Raises TextError for an entry without a word or without speech, and for entries that are too long or many."""
        entries = {} if entries is None else entries
        if not isinstance(entries, Mapping):
            raise TextError(f"lexicon: expected words and how they are spoken, got {quote(entries)}")
        if len(entries) > ENTRIES_MAX:
            raise TextError(f"lexicon: expected at most {ENTRIES_MAX} entries, got {len(entries)}")
        for word, spoken in entries.items():
            _check("word", word, WORD_MAX)
            _check(f"{quote(word)}", spoken, SPOKEN_MAX)
        self.entries = {word: spoken.strip() for word, spoken in entries.items()}

    @cached_property
    def _trees(self) -> tuple[_Tree, _Tree]:
        """The entries as they are spelled, and in any case; made when a text comes, as they may take much memory."""
        exact, any_case = _Tree(), _Tree()
        for word, spoken in sorted(self.entries.items()):  # equal lexicons say the same, whatever their order
            key = _key(word)
            _plant(exact, key, spoken)
            if not _is_capital(word):
                _plant(any_case, [token.lower() for token in key], spoken)
        return exact, any_case

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lexicon) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(frozenset(self.entries.items()))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __repr__(self) -> str:
        return f"Lexicon({len(self.entries)} entries)"

    def copy(self) -> Lexicon:
        """Another one with the same entries, and nothing that was made of them to speak a text."""
        copied = Lexicon()
        copied.entries = self.entries
        return copied

    def apply(self, text: str) -> str:
        """The text with its words replaced, but for what is in braces. Raises TextError if it becomes far too long."""
        if not self.entries:
            return text
        parts, done = [], 0
        for start, stop in brace_groups(text):
            parts += [*self._replaced(text[done:start]), text[start:stop]]
            done = stop
        parts += self._replaced(text[done:])
        replaced = "".join(parts)
        if len(replaced) > max(GROWTH_FREE, GROWTH_MAX * len(text)):
            raise TextError(f"lexicon: makes {len(replaced)} characters of a text of {len(text)}; shorten its entries")
        return replaced

    def _replaced(self, text: str) -> Iterator[str]:
        tokens = [" " if token.isspace() else token for token in _TOKEN.findall(compose(text))]
        plain = [token.replace("’", "'") for token in tokens]
        folded = [token.lower() for token in plain]
        i, last, was_replaced = 0, " ", False
        while i < len(tokens):
            found, length = self._find(plain, folded, i)
            spoken, is_replaced = found or tokens[i], found is not None
            if (is_replaced or was_replaced) and _is_spoken(last[-1]) and _is_spoken(spoken[0]):
                yield " "  # words beside a sign that has an entry, as in "R&D"
            yield spoken
            i, last, was_replaced = i + length, spoken, is_replaced

    def _find(self, plain: Sequence[str], folded: Sequence[str], i: int) -> tuple[str | None, int]:
        """Return what is spoken for the longest entry that begins at a token, and how many tokens it has.

        Two trees are walked at the same time, so that a step costs the same, however long the entry is.
        """
        found: tuple[str, str, int] | None = None
        exact, any_case = self._trees
        for at in range(i, len(plain)):
            token, lower = plain[at], folded[at]
            longer_exact, longer_any_case = exact.get(token, _NOTHING), any_case.get(lower, _NOTHING)
            spoken = longer_exact.spoken or longer_any_case.spoken
            if spoken is not None:
                found = spoken, "", at - i + 1
            elif lower[-1] in _INFLECTED:
                for last, ending in _forms(token):
                    spoken = exact.get(last, _NOTHING).spoken or any_case.get(last.lower(), _NOTHING).spoken
                    if spoken is not None:
                        found = spoken, ending, at - i + 1
                        break
            exact, any_case = longer_exact, longer_any_case
            if not (exact or any_case):
                break
        if found is None:
            return None, 1
        spoken, ending, length = found
        return _inflected(spoken, ending), length


def parse_lexicon(content: str, source: str = "lexicon") -> dict[str, str]:
    """The entries of a lexicon file. Raises TextError, which names the source and the line."""
    entries: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, separator, spoken = (part.strip() for part in line.partition(SEPARATOR))
        if not (word and separator and spoken):
            raise TextError(f"{source}: line {number}: expected 'word = spoken', got {quote(line.strip())}")
        if word in entries:
            raise TextError(f"{source}: line {number}: {quote(word)} has an entry already; remove one")
        entries[word] = spoken
    try:
        Lexicon(entries)
    except TextError as error:
        raise TextError(f"{source}: {error}") from error
    return entries


def _check(name: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise TextError(f"lexicon: {name}: expected some text, got {quote(value)}")
    if len(value) > longest:
        raise TextError(f"lexicon: {name}: expected at most {longest} characters, got {len(value)}")


def _key(word: str) -> tuple[str, ...]:
    tokens = _TOKEN.findall(compose(word.strip()))
    return tuple(" " if token.isspace() else token.replace("’", "'") for token in tokens)


def _plant(tree: _Tree, key: Iterable[str], spoken: str) -> None:
    for token in key:
        tree = tree.setdefault(token, _Tree())
    tree.spoken = spoken


def _is_spoken(character: str) -> bool:
    return character.isalnum() or character in "{}"


def _is_capital(word: str) -> bool:
    return word.isupper() and sum(map(str.isalpha, word)) > 1


def _forms(token: str) -> Iterator[tuple[str, str]]:
    """Yield the words that a token may be a form of, beside itself, each with the form's ending."""
    if token.endswith("'"):
        token = token[:-1]
        yield token, ""
    lower = token.lower()
    if lower.endswith("'s"):
        yield token[:-2], "'s"
    elif lower.endswith("s") and len(token) > _PLURAL_LETTERS:
        yield token[:-1], "s"
        if lower.endswith("es"):
            yield token[:-2], "s"
        if lower.endswith("ies"):
            yield f"{token[:-3]}y", "s"


def _inflected(spoken: str, ending: str) -> str:
    """Return what is spoken with the ending of a plural or possessive: in letters, or as a phone."""
    if not ending:
        return spoken
    if not spoken.endswith("}"):
        if ending == "s" and spoken[-2:-1] in (" ", ""):  # letters: "A P I's"
            ending = "'s"
        return spoken + ("es" if ending == "s" and spoken.lower().endswith(("s", "x", "z", "ch", "sh")) else ending)
    phones = spoken[:-1].split()
    last = phones[-1].lstrip("{").rstrip("012") if phones else ""
    added = "IH0 Z" if last in _SIBILANTS else "S" if last in _VOICELESS else "Z"
    return f"{spoken[:-1].rstrip()} {added}}}"
