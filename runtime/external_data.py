"""Finds ONNX graphs that refer to weights in other files, without the onnx package and without parsing the graph."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

# Every reference to external data contains the key "location". In a graph it is preceded by its length, the number 8 as
# a protobuf varint, which may be padded; names such as "/decoder/location_conv" are preceded by other characters.
_KEY = b"location"
_LENGTH = re.compile(rb"(?:\x08|\x88\x80{0,8}\x00)\Z")
_LENGTH_BYTES_MAX = 10


def has_external_data(path: Path) -> bool:
    """True if the graph refers to data in other files; a tensor or node named exactly "location" also counts."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(_KEY)
            while place >= 0:
                if _LENGTH.search(content[max(0, place - _LENGTH_BYTES_MAX) : place]):
                    return True
                place = content.find(_KEY, place + 1)
    return False
