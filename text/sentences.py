"""Where written text may be cut: after sentences, after clauses, between words, inside words.

Every function yields offsets c, start < c < stop, in ascending order: the text may be cut into [:c] and [c:].
Offsets refer to a text in which every run of whitespace is one space. All run in time linear in stop - start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .cleaners import ABBREVIATIONS

_CLOSERS = "\"'”’»)\\]"
# A full stop inside "3.5" or "example.com" has no space after it, so it ends nothing. The look-behind keeps a
# long row of full stops from being tried at each of them.
_SENTENCE_END = re.compile(rf"(?<![.!?…])([.!?…]+)([{_CLOSERS}]*)(?= )|[。！？]+[」』{_CLOSERS}]*")
_CLAUSE_END = re.compile(rf"[,;:][{_CLOSERS}]*(?= )|[)\]](?= )|—+|--+|–(?= )|[，、；：]")
_SPACE = re.compile(" ")
_INITIAL = re.compile(r"[A-Z]")
_DOTTED = re.compile(r"[A-Za-z](\.[A-Za-z])+")

# Before a name or an example: never the end of a sentence.
_BEFORE_MORE = frozenset(ABBREVIATIONS) | set("ms prof mt messrs mme mlle gov sen rep vs cf viz".split())
# At the end of a name, a list or a time: the end of a sentence unless it goes on in lower case.
_AFTER_NAME = frozenset("co jr sr esq ltd inc corp etc al a.m p.m".split())
# Before a number: "No. 5" goes on, "No. I won't." does not.
_BEFORE_NUMBER = frozenset("no nos vol fig figs p pp ch sec art".split())


def sentence_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """After . ! ? with the quotes and brackets that close them, but not after abbreviations and initials."""
    for match in _SENTENCE_END.finditer(text, start, stop):
        if match.end() < stop and not _goes_on(text, match):
            yield match.end()


def clause_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """After commas, semicolons, colons, dashes and closing brackets."""
    return (match.end() for match in _CLAUSE_END.finditer(text, start, stop) if match.end() < stop)


def word_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """At every space."""
    return (match.start() for match in _SPACE.finditer(text, start, stop) if match.start() > start)


def characters(text: str, start: int, stop: int) -> Iterator[int]:
    """Between any two characters."""
    return iter(range(start + 1, stop))


def _goes_on(text: str, match: re.Match[str]) -> bool:
    """Whether the sentence continues after what looks like its end."""
    mark, closers = match[1], match[2]
    if mark is None:
        return False  # the full-width marks have no other use
    following = text[match.end() + 1]
    if closers or mark != ".":
        # '"Stop!" he said' and "well... perhaps" are one sentence each; "stop! and go" is two.
        return following.islower() and (bool(closers) or mark[-1] in ".…")
    word = _word_before(text, match.start())
    if word.lower() in _BEFORE_NUMBER:
        return following.isdigit()
    if word.lower() in _AFTER_NAME:  # some are abbreviations as well
        return following.islower()
    return bool(word.lower() in _BEFORE_MORE or _INITIAL.fullmatch(word) or _DOTTED.fullmatch(word))


def _word_before(text: str, stop: int) -> str:
    """The word that ends at `stop`, without the quotes and brackets before it: "Mr" of "(Mr."."""
    word = text[text.rfind(" ", 0, stop) + 1 : stop]
    first = next((offset for offset, character in enumerate(word) if character.isalnum()), len(word))
    return word[first:]
