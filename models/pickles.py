"""Unpickles checkpoints as data: nothing that a pickle names is ever imported or called.

A pickle's globals become placeholders, which have attributes but no behaviour. Tensors become records of where their
data is stored (`TensorRecord`), which models/archives.py reads on request. Most training scripts save objects of their
own classes, which are harmless as placeholders. Malicious pickles work by calling functions, so a call of anything but
the well-known helpers below is an error that names the function.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from .errors import CheckpointError

# Storage classes of all torch versions, by name; they are in torch, torch.cuda and torch.storage.
STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
# Calls that checkpoints contain besides those for torch's tensors: they build containers and values, not weights.
_HARMLESS_MODULES = ("collections", "datetime", "pathlib", "decimal", "fractions", "uuid")
_HARMLESS_CALLS = {
    *(("builtins", name) for name in ("set", "frozenset", "complex", "bytearray", "slice", "range", "object")),
    ("_codecs", "encode"),
    *(("torch", name) for name in ("Size", "device", "dtype", "Generator")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(("numpy", name) for name in ("dtype", "ndarray", "bool_", "float32", "float64", "int64")),
}
_PYTHON_2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True)
class StorageRecord:
    """A storage of the file. The slots here and below prevent a pickle from changing the object."""

    __slots__ = ("dtype", "key", "numel", "offset")
    key: str  # its name in the file
    dtype: torch.dtype
    offset: int  # elements; not 0 only in the oldest files, whose storages could be views of others
    numel: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor of the file: a strided view of a storage."""

    __slots__ = ("dtype", "offset", "size", "storage", "stride")
    storage: StorageRecord
    dtype: torch.dtype
    offset: int  # elements
    size: tuple[int, ...]
    stride: tuple[int, ...]  # elements

    def __setstate__(self, state: Any) -> None:
        """Ignore the state: it concerns only the tensor's gradient."""


class _PlaceholderType(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = _PYTHON_2_MODULES.get(cls.__module__, cls.__module__)
        if module not in _HARMLESS_MODULES and (module, cls.__name__) not in _HARMLESS_CALLS:
            raise CheckpointError(
                f"unpickling it would call {cls.__module__}.{cls.__name__}, which is not allowed; nothing was "
                "executed: get the weights from a source that you trust"
            )
        return cls.__new__(cls)  # type: ignore[call-overload]


class Placeholder(metaclass=_PlaceholderType):
    """Replaces an object of a class that is not imported; it has the object's attributes and nothing else."""

    attributes: Mapping[str, Any] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Placeholder:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.__dict__["attributes"] = {
            str(key): value for part in parts if isinstance(part, dict) for key, value in part.items()
        }

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore the items of container objects: no checkpoint family stores weights there."""

    def extend(self, items: Any) -> None:
        """Ignore the items, as __setitem__ does."""

    append = add = update = extend


class Plain(dict[Any, Any]):
    """A dict that ignores the attributes that torch adds to its state dicts."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore the attributes: none are needed."""


@dataclass(frozen=True)
class _Helper:
    """A function of this module that pickles call under a different name. Frozen, so that a pickle cannot change it."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


@dataclass(frozen=True)
class _StorageType:
    __slots__ = ("dtype",)
    dtype: torch.dtype


def load_pickle(file: BinaryIO, storages: dict[str, torch.dtype] | None = None) -> Any:
    """Read the pickle at the file's position; the position is then at the pickle's end.

    storages, if given, is filled with the key and dtype of every storage.
    Raises CheckpointError for a call that is not known to be harmless. A damaged pickle raises errors of any type.
    """
    start = file.tell()
    _check_memo(file)
    size = file.tell() - start
    file.seek(start)
    return _Unpickler(io.BytesIO(file.read(size)), {} if storages is None else storages).load()


def _check_memo(file: BinaryIO) -> None:
    """Reject memo indices that no pickler writes: the unpickler would allocate that many entries at once."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise ValueError(f"memo index {argument} after {count} operations")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, torch.dtype]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        module_now = _PYTHON_2_MODULES.get(module, module)
        if (module_now, name) in _HELPERS:
            return _HELPERS[module_now, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[name])
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return _PlaceholderType(name, (Placeholder,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # legacy files store classes with their source code; pid[1] is the class
            return pid[1]
        if pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise ValueError(f"unknown persistent id {pid[0]!r}")
        view = pid[5] if len(pid) > 5 else None  # (its own key, offset, numel), in legacy files
        offset, numel = (0, pid[4]) if view is None else view[1:]
        self._storages[str(pid[2])] = pid[1].dtype
        return StorageRecord(str(pid[2]), pid[1].dtype, int(offset), int(numel))


def _tensor(storage: StorageRecord, offset: int, size: Any, stride: Any, *_: Any) -> TensorRecord:
    return TensorRecord(storage, storage.dtype, int(offset), _ints(size), _ints(stride))


def _tensor_v3(storage: StorageRecord, offset: int, size: Any, stride: Any, *rest: Any) -> TensorRecord:
    """Rebuild a tensor whose dtype may differ from its storage's; rest: requires_grad, backward hooks, dtype."""
    if not isinstance(rest[2], torch.dtype):
        raise ValueError(f"dtype of a tensor: expected a torch.dtype, got {type(rest[2]).__name__}")
    return TensorRecord(storage, rest[2], int(offset), _ints(size), _ints(stride))


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _parameter(data: TensorRecord, *_: Any) -> TensorRecord:
    return data


def _from_type(function: _Helper, _: Any, args: tuple[Any, ...], *__: Any) -> Any:
    if not isinstance(function, _Helper):
        raise ValueError("a tensor is rebuilt by an unknown function")
    return function(*args)


def _reconstructor(kind: Any, *_: Any) -> Any:
    return kind.__new__(kind)


_HELPERS = {
    ("collections", "OrderedDict"): _Helper(Plain),
    ("copyreg", "_reconstructor"): _Helper(_reconstructor),
    ("torch", "Size"): _Helper(tuple),
    ("torch._utils", "_rebuild_tensor"): _Helper(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Helper(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Helper(_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): _Helper(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Helper(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): _Helper(_from_type),
    ("torch.nn.parameter", "Parameter"): _Helper(_parameter),
}
