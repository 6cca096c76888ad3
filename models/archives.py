"""Reads the file formats of checkpoints: torch's zip archives, its older stream of pickles, and NeMo's tar of either.

A file is read in two steps: first its structure, through models/pickles.py, then the requested tensors. Every size
stated in the file is checked against the file's length before memory is allocated, and the tensors together may take at
most twice that length. Formats are recognized by their first bytes.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import CheckpointError
from .file_parts import FilePart, tar_member
from .pickles import StorageRecord, TensorRecord, load_pickle
from .unpickler import MAX_BYTES, TooLargeError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file in the older format
NEMO_WEIGHTS = "model_weights.ckpt"  # the checkpoint in a .nemo file
BLOCK = 1 << 20  # bytes read at once
HEAD_READS = 100  # most reads of each of the first three pickles of a legacy file
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
NUMEL_BYTES = 8  # length of the element count that precedes a storage in a legacy file
UNREADABLE = "truncated, or not a PyTorch checkpoint; download or copy the file again"
BIG_ENDIAN = "saved on a big-endian machine, which is not supported; save it on a little-endian one"


class Archive(Protocol):
    """An open checkpoint."""

    content: Any  # the saved object, with a TensorRecord for every tensor
    size: int  # bytes of the file

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        """Return all bytes of a storage."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a checkpoint. Raises CheckpointError if the file is not a checkpoint or is incomplete."""
    with path.open("rb", buffering=0) as file:
        try:
            archive = _archive(FilePart(file))
        except CheckpointError:
            raise
        except Exception as error:  # damaged files raise errors of a dozen types, which all mean the same to the user
            raise CheckpointError(UNREADABLE) from error
        yield archive


def read_tensors(archive: Archive, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
    """Read tensors, contiguous and on the CPU; each storage is read once.

    Raises CheckpointError if the file lacks some of their data, or if they would take over twice the file's size.
    """
    try:
        return _read_tensors(archive, records)
    except CheckpointError:
        raise
    except Exception as error:  # of a dozen types, as in open_archive
        raise CheckpointError(UNREADABLE) from error


def _archive(file: FilePart) -> Archive:
    start = file.read(512)
    if start[257:262] == b"ustar":
        file = file.part(*_nemo_weights(file))
        start = file.read(512)
    file.seek(0)
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise CheckpointError(f"compressed with {name}; unpack it first")
    if start.startswith(b"PK\x03\x04"):
        return ZipArchive(file)
    if start.startswith((b"\x80", b"L")):  # a pickle that begins with an integer
        return LegacyArchive(file)
    raise CheckpointError(UNREADABLE)


def _nemo_weights(file: FilePart) -> tuple[int, int]:
    place = tar_member(file, NEMO_WEIGHTS)
    if place is None:
        raise CheckpointError(
            f"a tar file without {NEMO_WEIGHTS}, so not a NeMo checkpoint; give a .nemo file or a PyTorch checkpoint"
        )
    return place


class ZipArchive:
    """A file of torch.save since version 1.6: NAME/data.pkl, and NAME/data/KEY for each storage."""

    def __init__(self, file: FilePart) -> None:
        self.size = self._unread = file.size
        self._zip = zipfile.ZipFile(file)
        names = self._zip.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError(
                "a TorchScript program, which cannot be read without running it; give the training checkpoint"
            )
        if len(pickles) != 1:
            raise CheckpointError(
                f"a zip file, but not a PyTorch checkpoint: expected one data.pkl, got {len(pickles)}"
            )
        self._root = pickles[0].removesuffix("data.pkl")
        if f"{self._root}byteorder" in names and self._read("byteorder") != b"little":
            raise CheckpointError(BIG_ENDIAN)
        if self._zip.getinfo(pickles[0]).file_size > MAX_BYTES:
            raise TooLargeError(f"its data.pkl is larger than {MAX_BYTES >> 20} MiB")
        self.content = load_pickle(io.BytesIO(self._read("data.pkl")))

    def _read(self, name: str) -> bytearray:
        """Read a member and verify its checksum. Compressed members are rejected: torch never writes them.

        All members together are as long as the file at most, because in a hostile file they could overlap.
        """
        info = self._zip.getinfo(self._root + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed")
        self._unread -= info.file_size
        if self._unread < 0:
            raise ValueError("the members are longer than the file")
        data = bytearray()
        with self._zip.open(info) as member:
            while block := member.read(BLOCK):  # the last read compares the checksum
                data += block
        if len(data) != info.file_size:
            raise EOFError(f"{info.filename} ends early")
        return data

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        return self._read(f"data/{storage.key}")


class LegacyArchive:
    """A file of torch.save before version 1.6, or of its older format since.

    It consists of five pickles (a magic number, a version, the machine, the content, the keys of the storages) and the
    storages, each preceded by its number of elements.
    """

    def __init__(self, file: FilePart) -> None:
        self.size = file.size
        if load_pickle(file, max_reads=HEAD_READS) != LEGACY_MAGIC:
            raise ValueError("no magic number")
        load_pickle(file, max_reads=HEAD_READS)  # the version, 1001 in every such file
        if load_pickle(file, max_reads=HEAD_READS)["little_endian"] is not True:
            raise CheckpointError(BIG_ENDIAN)
        dtypes: dict[str, torch.dtype] = {}
        self.content = load_pickle(file, dtypes)
        self._file = file
        self._places = dict(self._walk(load_pickle(file), dtypes))

    def _walk(self, keys: list[str], dtypes: dict[str, torch.dtype]) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield each storage's key, its position in the file and its size in bytes."""
        position = self._file.tell()
        end = self._file.seek(0, io.SEEK_END)
        for key in keys:
            self._file.seek(position)
            size = int.from_bytes(self._file.read(NUMEL_BYTES), "little") * dtypes[key].itemsize
            position += NUMEL_BYTES
            if position + size > end:
                raise EOFError(f"storage {key} extends past the end of the file")
            yield key, (position, size)
            position += size

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        position, size = self._places[storage.key]
        data = bytearray(size)  # _walk has checked that the file is that long
        self._file.seek(position)
        if self._file.readinto(data) != size:
            raise EOFError(f"storage {storage.key} ends early")
        return data


def _read_tensors(archive: Archive, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
    size = sum(math.prod(record.size) * record.dtype.itemsize for record in records.values())
    if size > 2 * archive.size:
        raise CheckpointError(
            f"its tensors would take {size:,} bytes, over twice the file's {archive.size:,}: many share the same data; "
            "save a state_dict of the model alone"
        )
    by_storage: dict[str, dict[str, TensorRecord]] = {}
    for name, record in records.items():
        by_storage.setdefault(record.storage.key, {})[name] = record
    tensors: dict[str, Tensor] = {}
    for views in by_storage.values():
        data = archive.storage_bytes(next(iter(views.values())).storage)
        tensors |= {name: _view(data, record) for name, record in views.items()}
    return {name: tensors[name] for name in records}


def _view(data: bytearray, record: TensorRecord) -> Tensor:
    """Return a copy of a tensor's part of its storage."""
    storage, count = record.storage, math.prod(record.size)
    first, width = storage.offset * storage.dtype.itemsize, record.dtype.itemsize
    available = storage.numel * storage.dtype.itemsize // width  # in elements of the tensor's dtype
    last = record.offset + sum((n - 1) * step for n, step in zip(record.size, record.stride, strict=True))
    if min(first, record.offset, storage.numel, *record.size, *record.stride, 0) < 0:
        raise ValueError(f"negative numbers in {record}")
    if first + available * width > len(data) or count > available or (count and last >= available):
        raise ValueError(f"{record} exceeds its {len(data)} bytes")
    if not count:
        return torch.empty(record.size, dtype=record.dtype)
    flat = torch.frombuffer(data, dtype=record.dtype, count=available, offset=first)
    return flat.as_strided(record.size, record.stride, record.offset).clone(memory_format=torch.contiguous_format)
