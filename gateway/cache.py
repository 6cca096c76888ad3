"""Answers on disk: the body of each complete one in a file of its own, found again by its entity tag."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import anyio
import anyio.to_thread

from ..runtime.errors import RequestError
from ..runtime.files import PartialFile, check_writable

SUFFIX = ".speech"
READ_BYTES = 1 << 18
HEAD_MAX = 1 << 14  # bytes of a file's first line, the headers
ANSWER_PART = 0.1  # of the limit: a larger answer is not kept, because it would take the place of many others
KEPT_PART = 0.9  # of the limit, which is left once it was passed, so that the folder is not listed for every answer
STALE_SECONDS = 3600.0  # since the last write to a partial file, after which its server must have been killed
TELL_SECONDS = 600.0  # between two lines of the log about failures

logger = logging.getLogger("tacoglow.serve")


class Entry(NamedTuple):
    """A complete answer. Whoever has it closes its file."""

    headers: Mapping[str, str]  # that only the speech itself could tell
    size: int  # bytes of the body
    file: BinaryIO  # at the body

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await anyio.to_thread.run_sync(self.file.read, READ_BYTES):
            yield chunk


class Cache:
    """A folder of answers, of so many bytes at most: the least recently used ones are removed. Servers may share it.
    Used from the event loop only; its files are touched in threads."""

    def __init__(self, folder: Path, limit: int) -> None:
        """limit: bytes of all files. Raises RequestError unless the folder is the user's own, or can be made."""
        check_writable(folder, "--cache", is_folder=True)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise RequestError(f"--cache: {folder}: {error.strerror}; give another folder") from error
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
            way_out = "give a folder of your own (chown, chmod go-w)"
            raise RequestError(f"--cache: {folder}: others can write to it; {way_out}")
        self._folder, self._limit = folder.resolve(), limit
        self.answer_limit = int(ANSWER_PART * limit)  # bytes of an answer's file
        self._told = -TELL_SECONDS  # time.monotonic() of the latest line about a failure
        self._is_shrinking = False
        self.size = self._shrink()  # bytes of all files, as far as this server knows

    async def find(self, tag: str) -> Entry | None:
        """The answer that has this tag, if it is kept."""
        return await anyio.to_thread.run_sync(_open, self._path(tag))

    def begin(self, tag: str, headers: Mapping[str, str]) -> EntryWriter:
        """A new entry, whose body comes while it is sent."""
        return EntryWriter(self, self._path(tag), json.dumps(headers).encode() + b"\n")

    async def keep(self, tag: str, headers: Mapping[str, str], body: bytes) -> None:
        """Make an entry of a body that was sent, even if the client leaves meanwhile."""
        writer = self.begin(tag, headers)
        with anyio.CancelScope(shield=True):
            await writer.write(body)
            await writer.commit()

    async def grow(self, size: int) -> bool:
        """Count bytes that were written, and make room for them; returns False if there is none. While room is being
        made, others go on, as if there were some. Raises OSError."""
        self.size += size
        if self.size > self._limit and not self._is_shrinking:
            self._is_shrinking, before = True, self.size
            try:
                with anyio.CancelScope(shield=True):
                    left = await anyio.to_thread.run_sync(self._shrink)
                self.size += left - before  # what was counted meanwhile stays, although `left` may have some of it
            finally:
                self._is_shrinking = False
        return self._is_shrinking or self.size <= self._limit

    def tell(self, error: OSError) -> None:
        """Log that an answer could not be kept, unless the log has had such a line lately."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            logger.warning("--cache: %s: %s; answers are sent without being kept", self._folder, error.strerror)

    def _path(self, tag: str) -> Path:
        return self._folder / (tag.removeprefix("W/").strip('"') + SUFFIX)

    def _shrink(self) -> int:
        """Remove the files that were used least recently if there are too many bytes; returns those that are left."""
        size, removable = 0, []
        for path in self._folder.glob(f"*{SUFFIX}*"):
            with suppress(OSError):  # another server may have removed it
                status = path.stat()
                size += status.st_size
                if path.suffix == SUFFIX or time.time() - status.st_mtime > STALE_SECONDS:
                    removable.append((status.st_mtime_ns, status.st_size, path))
        for _, freed, path in sorted(removable) if size > self._limit else ():
            if size <= KEPT_PART * self._limit:
                break
            with suppress(OSError):
                path.unlink(missing_ok=True)
                size -= freed
        return size


class EntryWriter:
    """Writes an answer while it is sent: `commit` makes it an entry, `discard` forgets it. If the disk fails, there is
    no room, or it becomes too large, it is forgotten; the methods raise no error."""

    def __init__(self, cache: Cache, path: Path, head: bytes) -> None:
        """head: what comes before the body."""
        self._cache, self._path, self._head, self._size = cache, path, head, 0
        self._partial: PartialFile | None = None
        self._is_over = False  # an entry, or forgotten

    async def write(self, data: bytes) -> None:
        data, self._head = self._head + data, b""
        await self._do(partial(self._write, data), len(data))

    async def commit(self) -> None:
        """Make it an entry, even if the client leaves meanwhile."""
        with anyio.CancelScope(shield=True):
            await self._do(self._commit)

    async def discard(self) -> None:
        """Forget it, unless it is an entry."""
        if self._is_over:
            return
        self._is_over = True
        self._cache.size -= self._size
        if self._partial is not None:
            with anyio.CancelScope(shield=True), suppress(OSError):
                await anyio.to_thread.run_sync(self._partial.discard)

    async def _do(self, step: Callable[[], None], size: int = 0) -> None:
        """Take a step in a thread, which writes so many bytes."""
        if self._is_over:
            return
        if self._size + size > self._cache.answer_limit:
            await self.discard()
            return
        try:
            await anyio.to_thread.run_sync(step)
            self._size += size
            has_room = await self._cache.grow(size)
        except OSError as error:
            self._cache.tell(error)
            has_room = False
        if not has_room:
            await self.discard()

    def _write(self, data: bytes) -> None:
        if self._partial is None:
            self._partial = PartialFile(self._path)
        self._partial.file.write(data)
        self._partial.file.flush()  # so that its size is known

    def _commit(self) -> None:
        assert self._partial is not None
        self._partial.commit(durable=True, private=True)
        self._is_over = True


def _open(path: Path) -> Entry | None:
    try:
        file = path.open("rb")
    except OSError:
        return None
    try:
        headers = json.loads(file.readline(HEAD_MAX))
        if not (isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())):
            raise ValueError("not headers")
        size = os.fstat(file.fileno()).st_size - file.tell()
        os.utime(path)  # it is the most recently used one now
    except (OSError, ValueError):  # removed meanwhile, or damaged
        file.close()
        return None
    return Entry(headers, size, file)
