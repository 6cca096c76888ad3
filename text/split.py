"""Long text into pieces that a voice can speak one at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import groupby

from .braces import brace_groups
from .errors import TextError, quote
from .sentences import characters, clause_ends, sentence_ends, word_ends

_FINER_CUTS = (clause_ends, word_ends, characters)  # tried in turn on what is still too long

Span = tuple[int, int]  # start and stop offsets in the collapsed text


def split_text(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Cut `text` into its sentences, and sentences of more than `max_tokens` tokens further.

    `count_tokens` tells a piece's length in the voice's tokens, for instance `FrontEnd.count_tokens`. A
    sentence that is too long is cut at clause ends, a clause between words, a word between characters; at
    each level as much as fits goes into one piece. A brace group is never cut. A piece of 0 tokens (a stray
    quote, an emoji) joins a neighbour where the limit allows it.

    The pieces hold the whole text in order, whitespace collapsed: nothing is lost or repeated. A text of
    whitespace has no pieces. Raises TextError if a brace group or a single character alone exceeds
    `max_tokens`, or if `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise TextError(f"max_tokens: expected at least 1, got {max_tokens}")
    if not isinstance(text, str):
        raise TextError(f"text: expected a string, got {type(text).__name__} {quote(text)}")
    splitter = _Splitter(" ".join(text.split()), max_tokens, count_tokens)
    return [splitter.piece(span) for span in splitter.split()]


class _Splitter:
    """One text being split. Spans may carry a space at either end; a piece does not."""

    def __init__(self, text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> None:
        self._text = text
        self._max_tokens = max_tokens
        self._count_tokens = count_tokens
        self._groups = list(brace_groups(text))

    def piece(self, span: Span) -> str:
        return self._text[slice(*span)].strip(" ")

    def split(self) -> list[Span]:
        """Spans of the pieces, in order and without gaps."""
        whole = (0, len(self._text))
        if not self._text:
            return []
        spans: list[Span] = []
        for sentence in _between(self._allowed(sentence_ends, whole), whole):
            if self._count(sentence) <= self._max_tokens:
                spans.append(sentence)
            else:
                spans.extend(self._cut(sentence, level=0))
        return self._absorb_silence(spans)

    def _cut(self, span: Span, level: int) -> list[Span]:
        """Cut `span`, which is too long, with the cuts of `level`, and with finer ones where these fail."""
        if level == len(_FINER_CUTS):
            piece = self.piece(span)
            kind = "brace group" if len(piece) > 1 else "character"
            raise TextError(
                f"text: the {kind} {quote(piece)} alone takes {self._count(span)} tokens, the limit is "
                f"{self._max_tokens}; shorten it or raise the limit"
            )
        parts = list(_between(self._allowed(_FINER_CUTS[level], span), span))
        if len(parts) == 1:
            return self._cut(span, level + 1)
        spans: list[Span] = []
        done, fitting = 0, 1
        while done < len(parts):
            fitting = self._how_many_fit(parts, done, guess=max(fitting, 1))
            if fitting:
                spans.append((parts[done][0], parts[done + fitting - 1][1]))
            else:
                spans.extend(self._cut(parts[done], level + 1))
            done += max(fitting, 1)
        return spans

    def _how_many_fit(self, parts: list[Span], first: int, guess: int) -> int:
        """How many of `parts[first:]` fit into one piece; the search widens from `guess` in doubling steps.

        Only a number that was itself counted is returned, so the limit holds even where a longer text has
        fewer tokens.
        """

        def fits(number: int) -> bool:
            return self._count((parts[first][0], parts[first + number - 1][1])) <= self._max_tokens

        most = len(parts) - first
        guess = min(guess, most)
        step = 1
        if fits(guess):
            fitting, excess = guess, guess + 1
            while excess <= most and fits(excess):
                step *= 2
                fitting, excess = excess, excess + step
            excess = min(excess, most + 1)
        else:
            fitting, excess = guess - 1, guess
            while fitting > 0 and not fits(fitting):
                step *= 2
                fitting, excess = max(fitting - step, 0), fitting
        while excess - fitting > 1:
            middle = (fitting + excess) // 2
            fitting, excess = (middle, excess) if fits(middle) else (fitting, middle)
        return fitting

    def _absorb_silence(self, spans: list[Span]) -> list[Span]:
        """Join pieces of which nothing is spoken to the piece before, or else to the one after them."""
        joined: list[Span] = []
        silent_before = False
        for silent, span in self._runs_of_silence(spans):
            both = (joined[-1][0] if joined else 0, span[1])
            if joined and (silent or silent_before) and self._count(both) <= self._max_tokens:
                joined[-1] = both
                silent_before = False
            else:
                joined.append(span)
                silent_before = silent
        return joined

    def _runs_of_silence(self, spans: list[Span]) -> Iterator[tuple[bool, Span]]:
        """`spans`, each with whether it is silent; neighbours that are silent come as one span."""
        for silent, group in groupby(spans, key=lambda span: self._count(span) == 0):
            members = list(group)
            if silent:
                yield True, (members[0][0], members[-1][1])
            else:
                yield from ((False, span) for span in members)

    def _allowed(self, cuts: Callable[[str, int, int], Iterator[int]], span: Span) -> Iterator[int]:
        """The cuts of `span` that do not fall into a brace group."""
        for cut in cuts(self._text, *span):
            before = bisect_left(self._groups, (cut, 0)) - 1  # the last group that starts before the cut
            if before < 0 or self._groups[before][1] <= cut:
                yield cut

    def _count(self, span: Span) -> int:
        piece = self.piece(span)
        return self._count_tokens(piece) if piece else 0


def _between(cuts: Iterator[int], span: Span) -> Iterator[Span]:
    """The spans that `cuts` make of `span`."""
    start, stop = span
    for cut in cuts:
        yield start, cut
        start = cut
    yield start, stop
