"""Reads the file formats of checkpoints: torch's zip archives, its older stream of pickles, and NeMo's tar of either.

A file is read in two steps: first its structure, through models/pickles.py, then the requested tensors. Every size
stated in the file is checked against the file's length before memory is allocated.
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

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file in the older format
NEMO_WEIGHTS = "model_weights.ckpt"  # the checkpoint in a .nemo file
NUMEL_BYTES = 8  # length of the element count that precedes a storage in a legacy file
UNREADABLE = "truncated, or not a PyTorch checkpoint; download or copy the file again"
BIG_ENDIAN = "saved on a big-endian machine, which is not supported; save it on a little-endian one"


class Archive(Protocol):
    """An open checkpoint."""

    content: Any  # the saved object, with a TensorRecord for every tensor

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        """Return all bytes of a storage."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a checkpoint. Raises CheckpointError if the file is not a checkpoint or is incomplete."""
    with path.open("rb") as file:
        try:
            archive = _archive(file)
        except CheckpointError:
            raise
        except Exception as error:  # damaged files raise errors of a dozen types, which all mean the same to the user
            raise CheckpointError(UNREADABLE) from error
        yield archive


def read_tensor(archive: Archive, record: TensorRecord) -> Tensor:
    """Read a tensor, contiguous and on the CPU. Raises CheckpointError if the file lacks some of its data."""
    try:
        return _read_tensor(archive, record)
    except Exception as error:  # of a dozen types, as in open_archive
        raise CheckpointError(UNREADABLE) from error


def _archive(file: BinaryIO) -> Archive:
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        return ZipArchive(file)
    if start.startswith(b"\x1f\x8b"):
        raise CheckpointError("compressed with gzip; unpack it first")
    if tarfile.is_tarfile(file):
        file.seek(0)
        return _archive(_nemo_weights(file))
    file.seek(0)
    return LegacyArchive(file)


def _nemo_weights(file: BinaryIO) -> BinaryIO:
    tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # the caller owns and closes the file
    for member in tar:
        if Path(member.name).name == NEMO_WEIGHTS and member.isreg() and not member.issparse():
            return cast(BinaryIO, tar.extractfile(member))
    raise CheckpointError(
        f"a tar file without {NEMO_WEIGHTS}, so not a NeMo checkpoint; give a .nemo file or a PyTorch checkpoint"
    )


class ZipArchive:
    """A file of torch.save since version 1.6: NAME/data.pkl, and NAME/data/KEY for each storage."""

    def __init__(self, file: BinaryIO) -> None:
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
        self.content = load_pickle(io.BytesIO(self._read("data.pkl")))

    def _read(self, name: str) -> bytes:
        """Read a member and verify its checksum. Compressed members are rejected: torch never writes them."""
        info = self._zip.getinfo(self._root + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename} is compressed")
        return self._zip.read(info)

    def storage_bytes(self, storage: StorageRecord) -> bytearray:
        return bytearray(self._read(f"data/{storage.key}"))


class LegacyArchive:
    """A file of torch.save before version 1.6, or of its older format since.

    It consists of five pickles (a magic number, a version, the machine, the content, the keys of the storages) and the
    storages, each preceded by its number of elements.
    """

    def __init__(self, file: BinaryIO) -> None:
        if load_pickle(file) != LEGACY_MAGIC:
            raise ValueError("no magic number")
        load_pickle(file)  # the version, 1001 in every such file
        if load_pickle(file)["little_endian"] is not True:
            raise CheckpointError(BIG_ENDIAN)
        dtypes: dict[str, torch.dtype] = {}
        self.content = load_pickle(file, dtypes)
        self._file = file
        self._places = dict(self._walk([str(key) for key in load_pickle(file)], dtypes))

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
        self._file.seek(position)
        return bytearray(self._file.read(size))


def _read_tensor(archive: Archive, record: TensorRecord) -> Tensor:
    storage, count = record.storage, math.prod(record.size)
    data = archive.storage_bytes(storage)
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
