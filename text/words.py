"""Finds which tokens speak each word of a text, although cleaners rewrite it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from .braces import brace_groups


@dataclass(frozen=True)
class SpokenWord:
    """A word as it is written, and its tokens [first, stop); none: an empty range.

    Punctuation at its ends does not belong to them. A space before it does, unless punctuation comes before that: in
    fluent speech, a voice attends to the space when it begins the word.
    """

    text: str
    first: int
    stop: int


def split_words(text: str) -> list[str]:
    """Split at whitespace, but not inside a brace group."""
    collapsed = " ".join(text.split())
    groups = list(brace_groups(collapsed))
    cuts, start = [], 0
    for position, character in enumerate(collapsed):
        while groups and groups[0][1] <= position:
            groups.pop(0)
        if character == " " and not (groups and groups[0][0] < position):
            cuts.append(collapsed[start:position])
            start = position + 1
    return [word for word in (*cuts, collapsed[start:]) if word]


def find_words(
    text: str, ids: Sequence[int], symbols: Sequence[str], encode: Callable[[str], list[int]]
) -> list[SpokenWord]:
    """The words of a text, in order, with their tokens among `ids`. encode: converts a part of the text to ids.

    Each word is encoded by itself. Where the cleaners depend on the words around, the two sequences of ids are aligned.
    """
    words = split_words(text)
    owners = _owners(words, ids, encode)
    audible = [any(character.isalnum() for character in symbols[position]) for position in ids]
    tokens: list[list[int]] = [[] for _ in words]
    for token, owner in enumerate(owners):
        if owner is not None:
            tokens[owner].append(token)
    spoken: list[SpokenWord] = []
    stop = 0
    for word, own in zip(words, tokens, strict=True):
        kept = [token for token in own if audible[token]] or own
        before = stop
        first, stop = (kept[0], kept[-1] + 1) if kept else (stop, stop)
        if spoken and all(owner is None for owner in owners[before:first]):
            first = before
        spoken.append(SpokenWord(word, first, stop))
    return spoken


def _owners(words: list[str], ids: Sequence[int], encode: Callable[[str], list[int]]) -> list[int | None]:
    """For each id, the index of the word that it speaks; None: the space between two words."""
    apart: list[int] = []
    owners: list[int | None] = []
    space = encode(" ")
    for i, word in enumerate(words):
        own = encode(word)
        if i > 0:
            apart += space
            owners += [None] * len(space)
        apart += own
        owners += [i] * len(own)
    return owners if apart == list(ids) else list(_transfer(owners, apart, ids))


def _transfer(owners: list[int | None], apart: list[int], ids: Sequence[int]) -> Iterator[int | None]:
    """Hand the owners of the ids of single words over to the ids of the text: to equal runs, and in proportion."""
    matcher = SequenceMatcher(None, apart, ids, autojunk=False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        for j in range(j1, j2):
            i = i1 + (j - j1) * (i2 - i1) // (j2 - j1) if i2 > i1 else max(i1 - 1, 0)
            yield owners[i] if owners else None
