"""Reads parts of files whose headers cannot be trusted: no read allocates what a header claims."""

from __future__ import annotations

import io
import tarfile

LARGEST_READ = 8 << 20  # bytes; the table of contents of a zip file with 40,000 members
MAX_MEMBERS = 10_000  # members of a tar file; a .nemo file has under 100
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


class FilePart(io.BufferedReader):
    """A file, or a part of one, whose single reads are limited."""

    def __init__(self, file: io.RawIOBase) -> None:
        self.size = file.seek(0, io.SEEK_END)  # bytes
        file.seek(0)
        super().__init__(file)

    def part(self, start: int, size: int) -> FilePart:
        """Return `size` bytes of this file from `start` on. Raises EOFError if it is shorter."""
        if start + size > self.size:
            raise EOFError("a part extends past the end of the file")
        return FilePart(_Section(self, start, size))

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` bytes, all if negative. Raises ValueError for a single read over LARGEST_READ."""
        if size is None or not 0 <= size <= LARGEST_READ:
            left = self.size - self.tell()
            size = left if size is None or size < 0 else min(size, left)
            if size > LARGEST_READ:
                raise ValueError(f"a header or table claims {size:,} bytes")
        return super().read(max(size, 0))


class _Section(io.RawIOBase):
    """The bytes of a file from `start` on, `size` of them."""

    def __init__(self, file: FilePart, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(self._size - self._position, 0)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view)
        self._position += count
        return count


def tar_member(file: FilePart, name: str) -> tuple[int, int] | None:
    """Find a regular member by the last part of its path: its position and size in bytes, None if there is none.

    Only plain headers are read, which suffice for a short name: tarfile would also parse extended ones, at length.
    Raises an error of any type for a damaged file.
    """
    position = 0
    for _ in range(MAX_MEMBERS):
        file.seek(position)
        header = file.read(tarfile.BLOCKSIZE)
        if not header.strip(b"\0"):
            return None
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if member.size < 0:
            raise ValueError("a member of negative size")
        position += tarfile.BLOCKSIZE
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.name.rpartition("/")[2] == name:
            return position, member.size
        if member.type not in _WITHOUT_DATA:
            position += -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return None
