"""Sentences of a text that arrives in parts, each as soon as it is complete."""

from __future__ import annotations

from ..text.braces import brace_groups
from ..text.sentences import sentence_ends


class SentenceBuffer:
    """Takes a text cut anywhere, even inside a word, and returns complete sentences as `split_text` finds them.

    A sentence is complete once the first character of the next one is there, because only that character decides
    cases such as "No. 5". An opening brace holds the text after it back until the brace is closed. However the text
    is cut, the sentences are the same; whitespace within them is collapsed, and none is empty.
    """

    def __init__(self) -> None:
        self._pending = ""  # starts with the next sentence; ends with whitespace if the text so far does

    def __len__(self) -> int:
        """Characters that it holds."""
        return len(self._pending)

    def add(self, text: str) -> list[str]:
        """The sentences that `text` completes, in order."""
        sentences, rest = _split(self._pending + text, is_complete=False)
        self._pending = rest
        return sentences

    def flush(self) -> list[str]:
        """What is left, as sentences; the buffer is empty afterwards, and can be used for another text."""
        sentences, rest = _split(self._pending, is_complete=True)
        self._pending = ""
        return [*sentences, rest] if rest else sentences


def _split(text: str, is_complete: bool) -> tuple[list[str], str]:
    """Complete sentences and the rest. is_complete: no more text follows."""
    rest, sentences = " ".join(text.split()), []
    while end := _first_end(rest, is_complete):
        sentences.append(rest[:end])
        rest = rest[end:].lstrip()
    is_open = bool(rest) and text[-1].isspace() and not is_complete
    return sentences, rest + " " if is_open else rest


def _first_end(text: str, is_complete: bool) -> int | None:
    """Where the first sentence ends; None if that is not known yet, or if it is the only one."""
    groups = list(brace_groups(text))
    opened = text.find("{", groups[-1][1] if groups else 0)
    for end in sentence_ends(text, 0, len(text)):
        if not is_complete and 0 <= opened < end:
            return None
        if not any(start < end < stop for start, stop in groups):
            return end
    return None
