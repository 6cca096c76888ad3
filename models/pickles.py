"""Unpickles checkpoints as data: nothing that a pickle names is ever imported or called.

A pickle's globals become inert stand-ins that hold attributes and do nothing; tensors become records of where their
numbers lie (`TensorRecord`), which models/archives.py turns into tensors when they are asked for. Objects are made by
most training scripts, and are harmless as stand-ins. A call, though, is what a malicious pickle is made of: one of
anything but the well-known helpers below is refused, by name.
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

# The storage classes that torch has had, by name; they live in torch, torch.cuda and torch.storage.
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
# What checkpoints call besides torch's own tensors: containers and values without a model's weights.
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
    """Slots keep a pickle from changing it, here and below."""

    __slots__ = ("dtype", "key", "numel", "offset")
    key: str  # its name in the file
    dtype: torch.dtype
    offset: int  # elements; other than 0 in the oldest files alone, whose storages could be views of others
    numel: int


@dataclass(frozen=True)
class TensorRecord:
    __slots__ = ("dtype", "offset", "size", "storage", "stride")
    storage: StorageRecord
    dtype: torch.dtype
    offset: int  # elements
    size: tuple[int, ...]
    stride: tuple[int, ...]  # elements

    def __setstate__(self, state: Any) -> None:
        """What else a pickle tells of a tensor concerns its gradient."""


class _InertType(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = _PYTHON_2_MODULES.get(cls.__module__, cls.__module__)
        if module not in _HARMLESS_MODULES and (module, cls.__name__) not in _HARMLESS_CALLS:
            raise CheckpointError(
                f"it is a pickle that calls {cls.__module__}.{cls.__name__}; nothing of it was run: "
                "get the weights from a source that you trust"
            )
        return cls.__new__(cls)  # type: ignore[call-overload]


class Inert(metaclass=_InertType):
    """Stands for an object of a class that is not imported: its attributes, and nothing else."""

    attributes: Mapping[str, Any] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.__dict__["attributes"] = {
            str(key): value for part in parts if isinstance(part, dict) for key, value in part.items()
        }

    def __setitem__(self, key: Any, value: Any) -> None:
        """What a container class holds is not kept: no layout has weights there."""

    def extend(self, items: Any) -> None:
        """As __setitem__."""

    append = add = update = extend


class Plain(dict[Any, Any]):
    """A dict that ignores the attributes which torch gives its state dicts."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Nothing of it is needed."""


@dataclass(frozen=True)
class _Helper:
    """A function of ours under a name that pickles call. Frozen, so that no pickle can change it."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


@dataclass(frozen=True)
class _StorageType:
    __slots__ = ("dtype",)
    dtype: torch.dtype


def load_pickle(file: BinaryIO, storages: dict[str, torch.dtype] | None = None) -> Any:
    """The object of the pickle that begins at the file's position, which is left where the pickle ends.

    storages, if given, is told of every storage: its key and what its elements are.
    Raises CheckpointError for a call that is not known to be harmless; and whatever pickle raises, of any type, for
    a damaged one.
    """
    start = file.tell()
    _check_memo(file)
    size = file.tell() - start
    file.seek(start)
    return _Unpickler(io.BytesIO(file.read(size)), {} if storages is None else storages).load()


def _check_memo(file: BinaryIO) -> None:
    """Refuse memo indices that no pickler writes: the unpickler would allocate as many entries at once."""
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
        return _InertType(name, (Inert,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # a legacy file's copy of a class's source comes with the class
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
    """rest: requires_grad, backward hooks, dtype."""
    if not isinstance(rest[2], torch.dtype):
        raise ValueError("a tensor's dtype is no dtype")
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
