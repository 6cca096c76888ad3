"""Splits long text into pieces that a voice can speak one at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import groupby

from .braces import brace_groups
from .errors import TextError, quote
from .lines import collapse_lines
from .sentences import characters, clause_ends, sentence_ends, word_ends

_FINER_CUTS = (clause_ends, word_ends, characters)  # tried in turn on spans that are still too long

Span = tuple[int, int]  # start and stop offsets in the collapsed text


def split_text(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Cut `text` into sentences and lines, and cut those of more than `max_tokens` tokens further.

    `count_tokens` returns a piece's length in the voice's tokens, for instance `FrontEnd.count_tokens`. A sentence
    that is too long is cut at clause ends, a clause between words, a word between characters; at each level, a piece
    takes as many parts as fit. A brace group is never cut. A piece of 0 tokens (a stray quote, an emoji) is joined
    to a neighbour if the limit allows it.

    Joined in order, the pieces give the complete text with its whitespace collapsed: nothing is lost or repeated. A
    text of whitespace only has no pieces. Raises TextError if `text` is not a string, if a brace group or a single
    character exceeds `max_tokens`, or if `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise TextError(f"max_tokens: expected at least 1, got {max_tokens}")
    if not isinstance(text, str):
        raise TextError(f"text: expected a string, got {type(text).__name__} {quote(text)}")
    splitter = _Splitter(collapse_lines(text), max_tokens, count_tokens)
    return [splitter.piece(span) for span in splitter.split()]


class _Splitter:
    """Splits one text. Spans may start or end with a space; pieces do not."""

    def __init__(self, text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> None:
        self._text = text
        self._max_tokens = max_tokens
        self._count_tokens = count_tokens
        self._groups = list(brace_groups(text))

    def piece(self, span: Span) -> str:
        return " ".join(self._text[slice(*span)].split())

    def split(self) -> list[Span]:
        """Return the spans of the pieces, in order and without gaps."""
        everything = (0, len(self._text))
        if not self._text:
            return []
        spans: list[Span] = []
        for sentence in _between(self._allowed(sentence_ends, everything), everything):
            if self._count(sentence) <= self._max_tokens:
                spans.append(sentence)
            else:
                spans.extend(self._cut(sentence, level=0))
        return self._join_silent(spans)

    def _cut(self, span: Span, level: int) -> list[Span]:
        """Cut `span`, which is too long, with the cuts of `level`, and with finer ones if those do not suffice."""
        if level == len(_FINER_CUTS):
            piece = self.piece(span)
            kind = "brace group" if len(piece) > 1 else "character"
            raise TextError(
                f"text: the {kind} {quote(piece)} alone has {self._count(span)} tokens, the limit is "
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
        """Count how many of `parts[first:]` fit into one piece: exponential search from `guess`, then bisection.

        Only a number whose tokens were counted is returned, so the limit holds even if a longer text has fewer
        tokens.
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

    def _join_silent(self, spans: list[Span]) -> list[Span]:
        """Join spans of 0 tokens to the span before them, or else to the span after them."""
        joined: list[Span] = []
        silent_before = False
        for silent, span in self._merge_silent_runs(spans):
            both = (joined[-1][0] if joined else 0, span[1])
            if joined and (silent or silent_before) and self._count(both) <= self._max_tokens:
                joined[-1] = both
                silent_before = False
            else:
                joined.append(span)
                silent_before = silent
        return joined

    def _merge_silent_runs(self, spans: list[Span]) -> Iterator[tuple[bool, Span]]:
        """Yield (True if the span has 0 tokens, span); adjacent silent spans are merged into one."""
        for silent, group in groupby(spans, key=lambda span: self._count(span) == 0):
            members = list(group)
            if silent:
                yield True, (members[0][0], members[-1][1])
            else:
                yield from ((False, span) for span in members)

    def _allowed(self, cuts: Callable[[str, int, int], Iterator[int]], span: Span) -> Iterator[int]:
        """Yield the cuts of `span` that do not fall into a brace group."""
        for cut in cuts(self._text, *span):
            before = bisect_left(self._groups, (cut, 0)) - 1  # the last group that starts before the cut
            if before < 0 or self._groups[before][1] <= cut:
                yield cut

    def _count(self, span: Span) -> int:
        piece = self.piece(span)
        return self._count_tokens(piece) if piece else 0


def _between(cuts: Iterator[int], span: Span) -> Iterator[Span]:
    """Yield the spans into which `cuts` divide `span`."""
    start, stop = span
    for cut in cuts:
        yield start, cut
        start = cut
    yield start, stop
