"""The file formats of checkpoints: torch's zip archives and its older stream of pickles, and NeMo's tar around either.

A file is read in two steps: its structure, through models/pickles.py, and then the tensors that are asked for. Every
number in the file is checked against the file's size before anything is allocated by it.
"""

from __future__ import annotations

import io
import math
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import torch
from torch import Tensor

from .errors import CheckpointError
from .pickles import StorageRecord, TensorRecord, load_pickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # what torch.save wrote first, before its zip archives
NEMO_WEIGHTS = "model_weights.ckpt"  # the member of a .nemo file
NUMEL_BYTES = 8  # a legacy storage begins with its number of elements
UNREADABLE = "it is truncated, or no PyTorch checkpoint"


class Archive(Protocol):
    """An open checkpoint."""

    content: Any  # what was saved, with a TensorRecord for every tensor

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        """All bytes of a storage."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Raises CheckpointError for a file that is no checkpoint, or not whole."""
    with path.open("rb") as file:
        try:
            archive = _archive(file)
        except CheckpointError:
            raise
        except Exception as error:  # damaged files raise a dozen types here, and each means the same to the user
            raise CheckpointError(UNREADABLE) from error
        yield archive


def read_tensor(archive: Archive, record: TensorRecord) -> Tensor:
    """The tensor of a record, on the CPU and contiguous. Raises CheckpointError if the file does not hold it whole."""
    try:
        return _read_tensor(archive, record)
    except Exception as error:  # as above
        raise CheckpointError(UNREADABLE) from error


def _archive(file: BinaryIO) -> Archive:
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        return ZipArchive(file)
    if start.startswith(b"\x1f\x8b"):
        raise CheckpointError("it is compressed with gzip; unpack it first")
    if tarfile.is_tarfile(file):
        file.seek(0)
        return _archive(_nemo_weights(file))
    file.seek(0)
    return LegacyArchive(file)


def _nemo_weights(file: BinaryIO) -> BinaryIO:
    tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # it closes nothing that is not ours
    for member in tar:
        if Path(member.name).name == NEMO_WEIGHTS and member.isreg() and not member.issparse():
            return cast(BinaryIO, tar.extractfile(member))
    raise CheckpointError(f"it is a tar file without {NEMO_WEIGHTS}: not a checkpoint of NeMo's")


class ZipArchive:
    """torch.save since version 1.6: NAME/data.pkl, and NAME/data/KEY for each storage."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)
        names = self._zip.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError("it is a TorchScript program, which cannot be read without running it")
        if len(pickles) != 1:
            raise CheckpointError("it is a zip file, but no PyTorch checkpoint")
        self._root = pickles[0].removesuffix("data.pkl")
        if f"{self._root}byteorder" in names and self._read("byteorder") != b"little":
            raise CheckpointError("it was saved on a big-endian machine")
        self.content = load_pickle(io.BytesIO(self._read("data.pkl")))

    def _read(self, name: str) -> bytes:
        """A member, its checksum verified. torch compresses none: one that would grow is none of torch's."""
        info = self._zip.getinfo(self._root + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed")
        return self._zip.read(info)

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        return bytearray(self._read(f"data/{storage.key}"))


class LegacyArchive:
    """torch.save before version 1.6: pickles of a magic number, a version, the machine, the content and the storages'
    keys; then the storages, each its number of elements and its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        if load_pickle(file) != LEGACY_MAGIC:
            raise ValueError("no magic number")
        load_pickle(file)  # the version, 1001 in every file there is
        if load_pickle(file)["little_endian"] is not True:
            raise CheckpointError("it was saved on a big-endian machine")
        dtypes: dict[str, torch.dtype] = {}
        self.content = load_pickle(file, dtypes)
        self._file = file
        self._places = dict(self._walk([str(key) for key in load_pickle(file)], dtypes))

    def _walk(self, keys: list[str], dtypes: dict[str, torch.dtype]) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each storage's key, its position in the file and its bytes."""
        position = self._file.tell()
        end = self._file.seek(0, io.SEEK_END)
        for key in keys:
            self._file.seek(position)
            size = int.from_bytes(self._file.read(NUMEL_BYTES), "little") * dtypes[key].itemsize
            position += NUMEL_BYTES
            if position + size > end:
                raise EOFError(f"storage {key} ends past the file")
            yield key, (position, size)
            position += size

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        position, size = self._places[storage.key]
        self._file.seek(position)
        return bytearray(self._file.read(size))


def _read_tensor(archive: Archive, record: TensorRecord) -> Tensor:
    storage, count = record.storage, math.prod(record.size)
    data = archive.storage_bytes(storage)
    first, width = storage.offset * storage.dtype.itemsize, record.dtype.itemsize
    held = storage.numel * storage.dtype.itemsize // width  # elements of the tensor's type
    last = record.offset + sum((n - 1) * step for n, step in zip(record.size, record.stride, strict=True))
    if min(first, record.offset, storage.numel, *record.size, *record.stride, 0) < 0:
        raise ValueError(f"negative numbers in {record}")
    if first + held * width > len(data) or count > held or (count and last >= held):
        raise ValueError(f"{record} does not lie in its {len(data)} bytes")
    if not count:
        return torch.empty(record.size, dtype=record.dtype)
    flat = torch.frombuffer(data, dtype=record.dtype, count=held, offset=first)
    return flat.as_strided(record.size, record.stride, record.offset).clone(memory_format=torch.contiguous_format)
