"""Finds what a voice's ONNX files must not have, without the onnx package and without reading the weights.

Weights in other files would not be covered by the SHA-256. Graphs within graphs are loops and branches, and a loop need
not end. Everything else that a graph computes is bounded by its size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

OTHER_FILES = "refers to weights in other files, which are not part of a bundle"
INNER_GRAPHS = "contains graphs within the graph, such as loops, which no voice has"
DAMAGED = "is damaged, or not written as ONNX models are"
# The messages of onnx.proto on the way to these: message -> number of a field -> message, or why it is refused.
MESSAGES = {
    "model": {7: "graph", 25: INNER_GRAPHS},  # 25: functions
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: INNER_GRAPHS,
        10: "tensor",
        11: INNER_GRAPHS,
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: OTHER_FILES},
}
VARINT_BYTES_MAX = 10
TAG_MAX = (1 << 32) - 1  # protobuf drops higher bits
FIELDS_MAX = 1_000_000  # graphs have some ten thousand

Field = tuple[int, int, int]  # number, start and end of the value


def find_forbidden(path: Path) -> str | None:
    """The end of a sentence that begins with the file's name and says what it must not have; None for a plain graph."""
    if path.stat().st_size == 0:
        return DAMAGED
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return _search(content, "model", 0, len(content), iter(range(FIELDS_MAX)))
        except (ValueError, IndexError):
            return DAMAGED


def _search(content: mmap.mmap, message: str, start: int, end: int, budget: Iterator[int]) -> str | None:
    for number, first, last in _fields(content, start, end, budget):
        inner = MESSAGES[message].get(number)
        found = _search(content, inner, first, last, budget) if inner in MESSAGES else inner
        if found is not None:
            return found
    return None


def _fields(content: mmap.mmap, start: int, end: int, budget: Iterator[int]) -> Iterator[Field]:
    """Yield the fields of a protobuf message. Raises ValueError or IndexError if it is not a plain one."""
    while start < end:
        if next(budget, None) is None:
            raise ValueError("too many fields")
        tag, start = _varint(content, start)
        if tag > TAG_MAX:
            raise ValueError("a field number is out of range")
        kind = tag & 7
        if kind == 0:  # a number
            _, last = _varint(content, start)
        elif kind == 2:  # text, bytes or a message
            size, start = _varint(content, start)
            last = start + size
        elif kind in (1, 5):
            last = start + (8 if kind == 1 else 4)
        else:
            raise ValueError("a group")
        if last > end:
            raise ValueError("a field exceeds its message")
        yield tag >> 3, start, last
        start = last


def _varint(content: mmap.mmap, place: int) -> tuple[int, int]:
    """The number at `place`, and the place after it."""
    value = 0
    for i in range(VARINT_BYTES_MAX):
        byte = content[place + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, place + i + 1
    raise ValueError("a number is too long")
