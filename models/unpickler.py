"""Python's unpickler with limits: work and memory stay proportional to the pickle, whatever it contains.

The unpickler written in C cannot be watched between two operations, so this is the one written in Python. A pickle can
otherwise take for ever with a few bytes (tuples of tuples are hashed again at every use), or copy one large list as
often as it has bytes. The limits lie far above what a checkpoint of a model contains.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, ClassVar

from .errors import CheckpointError

MAX_BYTES = 32 << 20  # largest pickle; tensors are stored outside
MAX_READS = 1_000_000  # an operation is one to three reads; a published WaveGlow has about 0.2 million
MAX_COPIED = 1_000_000  # items that calls copy from one container to another
MAX_ARGUMENTS = 100  # arguments of one call
MAX_CLASSES = 1_000  # different names of classes and functions
MAX_NAME = 1_000  # characters of such a name
MAX_KEY_BITS = 60  # largest integer key: larger ones can be chosen so that all have the same hash
MAX_KEY_PARTS = 100  # in a tuple or frozenset that is a key, counted each time that one occurs
MAX_COMPOUND_KEYS = 1_000  # such keys, which can be chosen so that all have the same hash

_CONTAINERS = (list, tuple, dict, set, frozenset)


class TooLargeError(CheckpointError):
    """A pickle that exceeds a limit."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}, which no checkpoint of a model has; give the file that the training run saved")


# Typeshed does not declare its attributes, which have been the same since Python 3.8.
_Unpickler: Any = pickle._Unpickler


class LimitedUnpickler(_Unpickler):  # type: ignore[misc]
    """Unpickles with the limits above. Raises TooLargeError beyond one; a damaged pickle raises errors of any type."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(_Unpickler.dispatch)

    def __init__(self, file: BinaryIO, max_reads: int) -> None:
        super().__init__(_LimitedReader(file, max_reads), encoding="utf-8")
        self._copied = self._compound_keys = 0

    def check_key(self, key: Any) -> None:
        """Check a key of a dict or an item of a set, which is hashed and compared with others."""
        kind = type(key)
        if kind is str:
            return
        if kind is tuple or kind is frozenset:
            self._compound_keys += 1
            if self._compound_keys > MAX_COMPOUND_KEYS:
                raise TooLargeError(f"more than {MAX_COMPOUND_KEYS:,} keys are tuples or sets")
            _check_compound_key(key)
        elif kind is int and key.bit_length() > MAX_KEY_BITS:
            raise TooLargeError(f"a key is an integer of {key.bit_length():,} bits")

    def count_copied(self, values: Iterable[Any]) -> None:
        """Count the items of containers that a call is about to copy."""
        self._copied += sum(len(value) for value in values if isinstance(value, _CONTAINERS))
        if self._copied > MAX_COPIED:
            raise TooLargeError(f"calls copy more than {MAX_COPIED:,} items")

    def _load_frame(self) -> None:
        self.read(8)  # only its length, for reading ahead

    def _load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # not allocated before it has been read

    def _load_put(self) -> None:
        index = int(self.readline()[:-1])
        if not 0 <= index < 1 << 32:
            raise ValueError(f"memo index {index.bit_length()} bits long")
        self.memo[index] = self.stack[-1]

    def _load_setitem(self) -> None:
        self.check_key(self.stack[-2])
        super().load_setitem()

    def _load_build(self) -> None:
        state = self.stack[-1]
        self.count_copied(state[:2] if type(state) is tuple else (state,))
        super().load_build()

    def _load_reduce(self) -> None:
        self._check_arguments(self.stack[-1])
        super().load_reduce()

    def _load_newobj(self) -> None:
        self._check_arguments(self.stack[-1])
        super().load_newobj()

    def _load_newobj_ex(self) -> None:
        self._check_arguments(self.stack[-1])
        self._check_arguments(self.stack[-2])
        super().load_newobj_ex()

    def _check_arguments(self, arguments: Any) -> None:
        if type(arguments) not in (tuple, dict):
            raise ValueError(f"arguments of a call: expected a tuple, got {type(arguments).__name__}")
        if len(arguments) > MAX_ARGUMENTS:
            raise TooLargeError(f"a call has more than {MAX_ARGUMENTS} arguments")
        self.count_copied(arguments)

    def _checking_marked(self, load: str, step: int) -> None:
        """Check every `step`-th object since the last mark as a key, then execute the operation."""
        for key in self.stack[::step]:
            self.check_key(key)
        getattr(super(), load)()

    dispatch[pickle.FRAME[0]] = _load_frame
    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray8
    dispatch[pickle.PUT[0]] = _load_put
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.BUILD[0]] = _load_build
    dispatch[pickle.REDUCE[0]] = _load_reduce
    dispatch[pickle.NEWOBJ[0]] = _load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = _load_newobj_ex
    dispatch[pickle.SETITEMS[0]] = lambda self: self._checking_marked("load_setitems", 2)
    dispatch[pickle.DICT[0]] = lambda self: self._checking_marked("load_dict", 2)
    dispatch[pickle.ADDITEMS[0]] = lambda self: self._checking_marked("load_additems", 1)
    dispatch[pickle.FROZENSET[0]] = lambda self: self._checking_marked("load_frozenset", 1)


def _check_compound_key(key: Any) -> None:
    waiting, parts = [key], 0
    while waiting:
        part = waiting.pop()
        parts += 1
        if type(part) in (tuple, frozenset):
            if len(part) + parts > MAX_KEY_PARTS:
                raise TooLargeError(f"a key has more than {MAX_KEY_PARTS} parts")
            waiting.extend(part)
        elif type(part) is int and part.bit_length() > MAX_KEY_BITS:
            raise TooLargeError(f"a key contains an integer of {part.bit_length():,} bits")
        if parts > MAX_KEY_PARTS:
            raise TooLargeError(f"a key has more than {MAX_KEY_PARTS} parts")


class _LimitedReader:
    """A file of which a pickle may read so many bytes, in so many reads."""

    def __init__(self, file: BinaryIO, max_reads: int) -> None:
        self._file, self._max_reads = file, max_reads
        self._bytes_left, self._reads_left = MAX_BYTES, max_reads

    def read(self, size: int) -> bytes:
        return self._take(self._file.read, size, size)

    def readline(self) -> bytes:
        return self._take(self._file.readline, self._bytes_left + 1, 1)

    def _take(self, read: Callable[[int], bytes], at_most: int, at_least: int) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise TooLargeError(f"its structure has more than {self._max_reads:,} parts")
        if at_least > self._bytes_left:
            raise EOFError("a string extends past the pickle's end, or past the largest pickle")
        data = read(at_most)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise TooLargeError(f"its structure is larger than {MAX_BYTES >> 20} MiB")
        if len(data) < at_least:
            raise EOFError("the pickle ends early")
        return data
