"""Unicode encodings of texts that come from elsewhere: by the mark at their beginning, or of the command line."""

from __future__ import annotations

import codecs
import os

UTF8 = "utf-8-sig"
# UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(beginning: bytes) -> str:
    """The encoding of a text whose first bytes these are; UTF-8 without a mark."""
    return next((encoding for mark, encoding in _MARKS if beginning.startswith(mark)), UTF8)


def as_utf8(argument: str) -> str:
    """A text from the command line, which Python leaves in surrogates where the locale is plain ASCII."""
    if argument.isascii() or not any("\udc80" <= character <= "\udcff" for character in argument):
        return argument
    return os.fsencode(argument).decode("utf-8", "surrogateescape")
