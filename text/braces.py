"""Where a text spells sounds: ARPAbet in braces, as in "Turn left on {HH AW1 S T AH0 N} Street."."""

from __future__ import annotations

from collections.abc import Iterator


def brace_groups(text: str, end: int | None = None) -> Iterator[tuple[int, int]]:
    """The (start, stop) of each brace group in `text[:end]`, braces included.

    A group runs from the first open brace to the first closing one that leaves at least one character between
    them: braces do not nest, "{}" is none, and "{}x}" is one group that holds "}x". This is what the pattern
    of NVIDIA/tacotron2 `text/__init__.py` finds on one line, in linear time.
    """
    end = len(text) if end is None else end
    start = text.find("{", 0, end)
    while start >= 0:
        close = text.find("}", start + 2, end)
        if close < 0:
            return
        yield start, close + 1
        start = text.find("{", close + 1, end)
