"""Finds where written text may be cut: after sentences, after clauses, between words, inside words.

Every public function yields offsets c with start < c < stop in ascending order; the text may be cut into [:c] and
[c:]. It expects a text in which every run of whitespace is one space, and takes time linear in stop - start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .cleaners import ABBREVIATIONS

_CLOSERS = "\"'”’»)\\]"
# A full stop inside "3.5" or "example.com" has no space after it, so it does not end a sentence. Because of the
# look-behind, a long row of full stops is matched only at its first one, not again at each of them.
_SENTENCE_END = re.compile(rf"(?<![.!?…])([.!?…]+)([{_CLOSERS}]*)(?= )|[。！？]+[」』{_CLOSERS}]*")
_CLAUSE_END = re.compile(rf"[,;:][{_CLOSERS}]*(?= )|[)\]](?= )|—+|--+|–(?= )|[，、；：]")
_SPACE = re.compile(" ")
_INITIAL = re.compile(r"[A-Z]")
_DOTTED = re.compile(r"[A-Za-z](\.[A-Za-z])+")

# Abbreviations before a name or an example: never the end of a sentence.
BEFORE_MORE = frozenset(ABBREVIATIONS) | set("ms prof mt messrs mme mlle gov sen rep vs cf viz".split())
# Abbreviations after a name, a list or a time: the end of a sentence unless lower case follows.
AFTER_NAME = frozenset("co jr sr esq ltd inc corp etc al a.m p.m".split())
# Abbreviations before a number: "No. 5" continues the sentence, "No. I won't." does not.
BEFORE_NUMBER = frozenset("no nos vol fig figs p pp ch sec art".split())


def sentence_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut after . ! ? … and their closing quotes and brackets, but not after abbreviations and initials."""
    for match in _SENTENCE_END.finditer(text, start, stop):
        if match.end() < stop and not _continues(text, match):
            yield match.end()


def clause_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut after commas, semicolons, colons, dashes and closing brackets."""
    return (match.end() for match in _CLAUSE_END.finditer(text, start, stop) if match.end() < stop)


def word_ends(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut at every space."""
    return (match.start() for match in _SPACE.finditer(text, start, stop) if match.start() > start)


def characters(text: str, start: int, stop: int) -> Iterator[int]:
    """Cut between any two characters."""
    return iter(range(start + 1, stop))


def _continues(text: str, match: re.Match[str]) -> bool:
    """True if the sentence continues after this match, which looks like its end."""
    mark, closers = match[1], match[2]
    if mark is None:
        return False  # the full-width marks always end a sentence
    following = text[match.end() + 1]
    if closers or mark != ".":
        # '"Stop!" he said' and "well... perhaps" are one sentence each; "stop! and go" is two.
        return following.islower() and (bool(closers) or mark[-1] in ".…")
    word = _word_before(text, match.start())
    if word.lower() in BEFORE_NUMBER:
        return following.isdigit()
    if word.lower() in AFTER_NAME:  # checked first: some of these are in BEFORE_MORE as well
        return following.islower()
    return bool(word.lower() in BEFORE_MORE or _INITIAL.fullmatch(word) or _DOTTED.fullmatch(word))


def _word_before(text: str, stop: int) -> str:
    """Return the word that ends at `stop`, without the quotes and brackets before it: "Mr" of "(Mr."."""
    word = text[text.rfind(" ", 0, stop) + 1 : stop]
    first = next((offset for offset, character in enumerate(word) if character.isalnum()), len(word))
    return word[first:]
