"""Reads the texts of `-i`: one per line, LJSpeech's metadata, or NVIDIA's filelists, from a file or from standard input
as they come."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, cast

from .encoding import UTF8, encoding_of

if TYPE_CHECKING:
    from ...runtime.errors import RequestError
    from ...runtime.pieces import Split

STANDARD_INPUT = Path("-")
MAX_LINE_BYTES = 1 << 20  # longest line: a file without line ends is not a list of texts
_RECORDED = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".npy", ".pt"}  # suffixes of audio and mels in filelists
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # by which a list is recognized
# What Linux, macOS and Windows take, but for Windows' devices, such as CON, and for the length.
_FILE_NAME = re.compile(r'\w(?:[^<>:"/\\|?*]*[^<>:"/\\|?* .])?')


class ListFormat(str, Enum):
    lines = "lines"
    ljspeech = "ljspeech"


@dataclass(frozen=True)
class Line:
    """One text of a list, or the reason why there is none."""

    number: int  # in the file, from 1
    name: str  # of its files, without a suffix: LJSpeech's id, otherwise its position, not counting blank lines
    text: str
    problem: str | None = None  # why the line cannot be spoken
    split: Split | None = None  # the text as a voice speaks it, once it is checked


@dataclass(frozen=True)
class Shard:
    """Every N-th line of a list, from the K-th: one machine's part.

    The names of files do not depend on N; nor do their bytes, where a line speaks the same bits in every batch.
    """

    number: int  # K, from 1
    of: int  # N

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read K/N. Raises RequestError."""
        from ...runtime.errors import RequestError

        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise RequestError(f"--shard: expected K/N with K from 1 to N, such as 2/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def select(self, lines: Iterable[Line]) -> Iterator[Line]:
        return islice(lines, self.number - 1, None, self.of)

    def count(self, lines: int) -> int:
        return len(range(self.number - 1, lines, self.of))


def source_name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def no_phrase(path: Path) -> RequestError:
    """The error of a list without a text."""
    from ...runtime.errors import RequestError

    return RequestError(f"{source_name(path)}: contains no phrase; write one per line")


def is_read_live(path: Path) -> bool:
    """True if lines come as somebody writes them, so that each should be spoken before the next is read."""
    return path == STANDARD_INPUT or not path.is_file()


def read_text() -> str:
    """Read all of standard input as one text. Raises RequestError."""
    from ...runtime.errors import RequestError

    if sys.stdin is None:
        raise RequestError("standard input is closed; give TEXT or -i FILE")
    content = sys.stdin.buffer.read()
    try:
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input: not UTF-8 ({error.reason} at byte {error.start}); encode it so") from error


def count_lines(path: Path) -> int | None:
    """Count the lines that are not blank; None for a source that can be read only once. Raises as `read_lines`."""
    if is_read_live(path):
        return None
    with _open(path) as file:
        return sum(1 for line in _split(file, path) if line.strip())


def read_lines(path: Path, wanted: ListFormat | None) -> Iterator[Line]:
    """Yield the lines that are not blank. wanted: their format; None: told from the first line.

    Raises OSError, and RequestError for a file that is not a list of texts.
    """
    names: dict[str, int] = {}  # name -> number of its line
    position = 0
    with _open(path) as file:
        for number, content in enumerate(_split(file, path), 1):
            if not content.strip():
                continue
            position += 1
            try:
                line = content.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8"
                yield Line(number, f"{position:04d}", "", reason)
                continue
            wanted = wanted or (ListFormat.ljspeech if _has_columns(line) else ListFormat.lines)
            if wanted is ListFormat.lines:
                yield Line(number, f"{position:04d}", line)
                continue
            parsed = _parse_columns(number, line)
            if parsed.problem is None and parsed.name in names:
                parsed = Line(number, "", "", f"id {parsed.name!r}: line {names[parsed.name]} has it too")
            names.setdefault(parsed.name, number)
            yield parsed


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader]:
    from ...runtime.errors import RequestError

    if path != STANDARD_INPUT:
        with path.open("rb") as file:
            yield file
    elif sys.stdin is None:
        raise RequestError("-i -: standard input is closed; name a file")
    else:
        yield cast(io.BufferedReader, sys.stdin.buffer)


def _split(file: io.BufferedReader, path: Path) -> Iterator[bytes]:
    """Yield lines in UTF-8, or what a file without another encoding's mark has instead."""
    from ...runtime.errors import RequestError

    encoding, is_first = encoding_of(file.peek(4)), True
    for line in _read_lines(file) if encoding == UTF8 else _decode_lines(file, path, encoding):
        if len(line) >= MAX_LINE_BYTES:
            raise RequestError(
                f"{source_name(path)}: a line is longer than {MAX_LINE_BYTES} bytes; write one text per line"
            )
        if is_first and b"\0" in line:
            raise RequestError(f"{source_name(path)}: not UTF-8, it has NUL bytes; save the file as UTF-8")
        is_first = False
        yield line


def _read_lines(file: io.BufferedReader) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES):
        yield line


def _decode_lines(file: io.BufferedReader, path: Path, encoding: str) -> Iterator[bytes]:
    from ...runtime.errors import RequestError

    reader = io.TextIOWrapper(file, encoding, newline="\n")
    try:
        while line := reader.readline(MAX_LINE_BYTES):
            yield line.encode()
    except UnicodeError as error:
        name = encoding.upper()
        raise RequestError(f"{source_name(path)}: begins as {name} but is not; save the file as UTF-8") from error
    finally:
        reader.detach()


def _has_columns(line: str) -> bool:
    identifier, *texts = line.split("|")
    if _is_recorded(identifier):
        return len(texts) > 0
    return len(texts) in (1, 2) and _ID.fullmatch(identifier) is not None


def _is_recorded(field: str) -> bool:
    """True for the path of a recording or of its mel."""
    return PureWindowsPath(field).suffix.lower() in _RECORDED


def _parse_columns(number: int, line: str) -> Line:
    """Parse a line of LJSpeech, `id|text|normalised text` or `id|text`, or of a filelist, `path|text`.

    The normalised text is spoken, if it is there. In a filelist, further paths and speakers' numbers are left out.
    """
    identifier, *texts = line.split("|")
    if texts and _is_recorded(identifier):
        identifier = PureWindowsPath(identifier).stem
        texts = [next((text for text in texts if not (text.strip().isdecimal() or _is_recorded(text))), texts[0])]
    if not texts:
        return Line(number, "", "", "expected id|text or id|text|normalised text, got no |")
    if len(texts) > 2:
        return Line(number, "", "", f"expected id|text|normalised text, got {len(texts)} |")
    if not (identifier.isprintable() and _FILE_NAME.fullmatch(identifier)):
        reason = (
            "expected a file's name: a letter, digit or _ first, no space or dot last, printable characters, "
            'none of <>:"/\\|?*'
        )
        return Line(number, "", "", f"id {identifier[:40]!r}: {reason}")
    return Line(number, identifier, texts[-1].strip() or texts[0].strip())
