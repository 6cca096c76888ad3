"""Line breaks: one ends a sentence and a blank line a paragraph, but those of wrapped text do not."""

from __future__ import annotations

import re

LINE_END = "\n"
PARAGRAPH_END = "\n\n"
WRAPPED_WIDTH = 55  # characters: a longer line that goes on in lower case was wrapped
_RUN = re.compile(r"(\s+)|\S+")
_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028]|\u2029")
_MARKS = ".!?…:;"


class LineJoiner:
    """Collapses the whitespace of a text that may come in parts, and keeps the line breaks that mean something.

    Every run of whitespace becomes a space, LINE_END or PARAGRAPH_END, and there is none at the text's ends. However
    the text is cut, the parts are together the same.
    """

    def __init__(self) -> None:
        self._column = 0  # characters since the last line break
        self._last = ""  # the last character that is not whitespace; empty: none so far
        self._is_spaced = False  # whitespace follows it
        self._breaks = 0  # line breaks in that whitespace
        self._after_return = False  # it ends with a carriage return, to which a line feed may belong

    def add(self, text: str) -> str:
        """The collapsed text, as far as it is certain: whitespace at the end waits for what follows it."""
        return "".join(self._space(match[0]) if match[1] else self._word(match[0]) for match in _RUN.finditer(text))

    def _space(self, space: str) -> str:
        breaks = sum(2 if found == "\u2029" else 1 for found in _BREAK.findall(space))
        self._breaks += breaks - (self._after_return and space[0] == "\n")
        self._after_return = space[-1] == "\r"
        self._is_spaced = True
        return ""

    def _word(self, word: str) -> str:
        gap = self._gap(word[0]) if self._is_spaced and self._last else ""
        self._column = len(word) + (0 if self._breaks else self._column + len(gap))
        self._last = word[-1]
        self._is_spaced, self._breaks, self._after_return = False, 0, False
        return gap + word

    def _gap(self, following: str) -> str:
        if self._breaks > 1:
            return PARAGRAPH_END
        is_wrapped = self._column >= WRAPPED_WIDTH and following.islower() and self._last not in _MARKS
        return LINE_END if self._breaks and not is_wrapped else " "


def collapse_lines(text: str) -> str:
    """A whole text as LineJoiner returns it."""
    return LineJoiner().add(text)


def split_lines(text: str) -> list[tuple[str, str]]:
    """The lines of a collapsed text, each with what ends it: LINE_END, PARAGRAPH_END, or nothing for the last one."""
    parts = re.split("(\n+)", text)
    return list(zip(parts[::2], [*parts[1::2], ""], strict=True))
