"""Finds ONNX graphs that refer to weights in other files, without the onnx package and without reading the weights.

Large messages are read field by field, down to the tensors with the weights; everything else is searched for the key
"location", which every reference to a file contains. A graph that this cannot read is searched completely.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

# The messages of onnx.proto on the way to a tensor: message -> field number -> message.
MESSAGES = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA = 13  # field of a tensor
SMALL = 1024  # bytes; searching is then faster than reading fields
# The key is preceded by its length, the number 8 as a protobuf varint, which may be padded; names such as
# "/decoder/location_conv" are preceded by other characters.
KEY = b"location"
LENGTH_OF_KEY = re.compile(rb"(?:\x08|\x88\x80{0,8}\x00)\Z")
VARINT_BYTES_MAX = 10
FIELDS_MAX = 200_000  # read one by one; graphs have some hundred

Field = tuple[int, int, int]  # number, start and end of the value


def has_external_data(path: Path) -> bool:
    """True if the graph refers to data in other files; a node or tensor named exactly "location" may also count."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return _search_message(content, "model", 0, len(content), iter(range(FIELDS_MAX)))
        except (ValueError, IndexError):  # damaged, of too many fields, or written in an unusual way
            return _search(content, 0, len(content))


def _search_message(content: mmap.mmap, message: str, start: int, end: int, budget: Iterator[int]) -> bool:
    for number, first, last in _fields(content, start, end, budget):
        inner = MESSAGES[message].get(number)
        if message == "tensor":
            found = number == EXTERNAL_DATA
        elif inner is not None and last - first > SMALL:
            found = _search_message(content, inner, first, last, budget)
        else:
            found = _search(content, first, last)
        if found:
            return True
    return False


def _search(content: mmap.mmap, start: int, end: int) -> bool:
    """True if this part contains the key of a reference."""
    place = content.find(KEY, start, end)
    while place >= 0:
        if LENGTH_OF_KEY.search(content[max(start, place - VARINT_BYTES_MAX) : place]):
            return True
        place = content.find(KEY, place + 1, end)
    return False


def _fields(content: mmap.mmap, start: int, end: int, budget: Iterator[int]) -> Iterator[Field]:
    """Yield the fields of a protobuf message. Raises ValueError or IndexError if it is not a plain one."""
    while start < end:
        if next(budget, None) is None:
            raise ValueError("too many fields")
        tag, start = _varint(content, start)
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
