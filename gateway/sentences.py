"""Sentences of a text that arrives in parts, each as soon as it is complete."""

from __future__ import annotations

from ..text.braces import brace_groups
from ..text.lines import LineJoiner
from ..text.sentences import sentence_ends


class SentenceBuffer:
    """Takes a text cut anywhere, even inside a word, and returns complete sentences as `split_text` finds them.

    A sentence is complete once the first character of the next one is there, because only that character decides
    cases such as "No. 5"; after some abbreviations, the first word of the next one. An opening brace holds the text
    after it back until the brace is closed. However the text is cut, the sentences are the same; whitespace within them
    is collapsed, and none is empty.
    """

    def __init__(self) -> None:
        self._lines = LineJoiner()
        self._pending = ""  # starts with the next sentence

    def __len__(self) -> int:
        """Characters that it holds."""
        return len(self._pending)

    def add(self, text: str) -> list[str]:
        """The sentences that `text` completes, in order."""
        sentences, self._pending = _split(self._pending + self._lines.add(text), is_complete=False)
        return sentences

    def flush(self) -> list[str]:
        """Return the rest as sentences; the buffer is empty afterwards, and can be used for another text."""
        sentences, rest = _split(self._pending, is_complete=True)
        self._lines, self._pending = LineJoiner(), ""
        return [*sentences, rest] if rest else sentences


def _split(text: str, is_complete: bool) -> tuple[list[str], str]:
    """Complete sentences and the rest of a collapsed text. is_complete: no more text follows."""
    groups = list(brace_groups(text))
    opened = text.find("{", groups[-1][1] if groups else 0)
    sentences, start, group = [], 0, 0
    for end in sentence_ends(text, 0, len(text), is_complete):
        if not is_complete and 0 <= opened < end:
            break
        while group < len(groups) and groups[group][1] <= end:
            group += 1
        if group == len(groups) or end <= groups[group][0]:
            sentences.append(" ".join(text[start:end].split()))
            start = end
    rest = text[start:].lstrip()
    return [sentence for sentence in sentences if sentence], " ".join(rest.split()) if is_complete else rest
