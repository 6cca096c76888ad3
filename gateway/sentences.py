"""Sentences of a text that arrives in parts, each as soon as it is complete."""

from __future__ import annotations

import re
from collections import deque

from ..text.lines import LineJoiner
from ..text.sentences import END_CHARACTERS, SentenceScanner

_MAY_END = re.compile(r"[^\w ,;:]")  # of a part: without one, and after none, no sentence ends and no brace closes


class SentenceBuffer:
    """Takes a text cut anywhere, even inside a word, and returns complete sentences as `split_text` finds them.

    A sentence is complete once the first character of the next one is there, because only that character decides
    cases such as "No. 5"; after some abbreviations, the first word of the next one. An opening brace holds the text
    after it back until the brace is closed. However the text is cut, the sentences are the same; whitespace within them
    is collapsed, and none is empty. A part takes time in proportion to its own length, whatever is held.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lines = LineJoiner()
        self._text = ""  # starts with the next sentence, and has been searched but for its end
        self._parts: list[str] = []  # what follows it
        self._length = 0  # characters of both
        self._is_waiting = False  # for what follows, which decides
        self._scanner = SentenceScanner()
        self._ends: deque[int] = deque()  # of sentences, unless they lie in braces
        self._groups: deque[tuple[int, int]] = deque()  # start and stop of braces, as `brace_groups` finds them
        self._opened = -1  # an opening brace that has not been closed; -1: none
        self._searched = 0  # for braces

    def __len__(self) -> int:
        """Characters that it holds."""
        return self._length

    def add(self, text: str) -> list[str]:
        """The sentences that `text` completes, in order."""
        part = self._lines.add(text)
        self._parts.append(part)
        self._length += len(part)
        if END_CHARACTERS.issuperset(part):
            self._is_waiting |= bool(part)
            return []
        if not self._is_waiting and not _MAY_END.search(part):
            return []
        return self._take(is_complete=False)

    def flush(self) -> list[str]:
        """Return the rest as sentences; the buffer is empty afterwards, and can be used for another text."""
        sentences = self._take(is_complete=True)
        rest = _collapsed(self._text)
        self._begin()
        return [*sentences, rest] if rest else sentences

    def _take(self, is_complete: bool) -> list[str]:
        """Remove the sentences that are complete. is_complete: no more text follows."""
        text = self._text = "".join((self._text, *self._parts))
        self._parts.clear()
        self._ends += self._scanner.find(text, len(text), is_complete)
        self._is_waiting = self._scanner.position < len(text)
        self._find_groups(text)
        sentences, start = [], 0
        while self._ends and (is_complete or not 0 <= self._opened < self._ends[0]):
            end = self._ends.popleft()
            while self._groups and self._groups[0][1] <= end:
                self._groups.popleft()
            if not self._groups or end <= self._groups[0][0]:
                sentences.append(_collapsed(text[start:end]))
                start = end
        if start:
            self._remove(start)
        return [sentence for sentence in sentences if sentence]

    def _find_groups(self, text: str) -> None:
        """Find further braces."""
        while True:
            if self._opened < 0:
                self._opened = text.find("{", self._searched)
                self._searched = len(text) if self._opened < 0 else self._opened + 2  # braces are not empty
            if self._opened < 0 or self._searched > len(text):
                return
            close = text.find("}", self._searched)
            if close < 0:
                self._searched = len(text)
                return
            self._groups.append((self._opened, close + 1))
            self._opened, self._searched = -1, close + 1

    def _remove(self, characters: int) -> None:
        """Remove characters from the front, which end with a sentence, and the space after it."""
        rest = self._text[characters:].lstrip()
        characters = len(self._text) - len(rest)
        self._text = rest
        self._length -= characters
        self._scanner.move(characters)
        self._ends = deque(end - characters for end in self._ends)
        self._groups = deque((start - characters, stop - characters) for start, stop in self._groups)
        self._opened = max(self._opened - characters, -1)
        self._searched -= characters


def _collapsed(text: str) -> str:
    return " ".join(text.split())
