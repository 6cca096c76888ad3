"""Finds ARPAbet in braces, as in "Turn left on {HH AW1 S T AH0 N} Street."."""

from __future__ import annotations

from collections.abc import Iterator


def brace_groups(text: str, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) offsets of each brace group in `text[:end]`, braces included.

    A group runs from the first opening brace to the first closing brace that leaves at least one character between
    them. Braces do not nest, "{}" is not a group, and "{}x}" is one group with the content "}x". The pattern in
    NVIDIA/tacotron2 `text/__init__.py` finds the same groups on one line; this function takes linear time.
    """
    end = len(text) if end is None else end
    start = text.find("{", 0, end)
    while start >= 0:
        close = text.find("}", start + 2, end)
        if close < 0:
            return
        yield start, close + 1
        start = text.find("{", close + 1, end)
