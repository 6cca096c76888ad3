"""Unpickles checkpoints as data: nothing that a pickle names is ever imported or called.

A pickle's globals become placeholders, which have attributes but no behaviour. Tensors become records of where their
data is stored (`TensorRecord`), which models/archives.py reads on request. Most training scripts save objects of their
own classes, which are harmless as placeholders. Malicious pickles work by calling functions, so a call of anything but
the well-known helpers below is an error that names the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from .errors import CheckpointError
from .unpickler import MAX_CLASSES, MAX_NAME, MAX_READS, LimitedUnpickler, TooLargeError

MAX_DIMENSIONS = 16  # dimensions of a tensor; those of the models have at most 4
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
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


@dataclass(frozen=True, eq=False)  # a hash over its fields could take long
class StorageRecord:
    """A storage of the file. The slots here and below prevent a pickle from changing the object."""

    __slots__ = ("dtype", "key", "numel", "offset")
    key: str  # its name in the file
    dtype: torch.dtype
    offset: int  # elements; not 0 only in the oldest files, whose storages could be views of others
    numel: int


@dataclass(frozen=True, eq=False)
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
        parts = state[:2] if isinstance(state, tuple) else (state,)  # a dict, or a dict or None and one of slots
        self.__dict__["attributes"] = {
            key: value for part in parts if isinstance(part, dict) for key, value in part.items() if type(key) is str
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


def load_pickle(file: BinaryIO, storages: dict[str, torch.dtype] | None = None, *, max_reads: int = MAX_READS) -> Any:
    """Read the pickle at the file's position; the position is then at the pickle's end.

    storages, if given, is filled with the key and dtype of every storage.
    Raises CheckpointError for a call that is not known to be harmless and beyond the limits of models/unpickler.py.
    A damaged pickle raises errors of any type.
    """
    return _Unpickler(file, {} if storages is None else storages, max_reads).load()


class _Unpickler(LimitedUnpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, torch.dtype], max_reads: int) -> None:
        super().__init__(file, max_reads)
        self._storages = storages
        self._classes: dict[tuple[str, str], _PlaceholderType] = {}

    def find_class(self, module: str, name: str) -> Any:
        module_now = _PYTHON_2_MODULES.get(module, module)
        if (module_now, name) == ("collections", "OrderedDict"):
            return _Helper(self._ordered_dict)
        if (module_now, name) in _HELPERS:
            return _HELPERS[module_now, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[name])
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        return self._placeholder_class(module, name)

    def _placeholder_class(self, module: str, name: str) -> _PlaceholderType:
        if (module, name) not in self._classes:
            if len(self._classes) == MAX_CLASSES or len(module) + len(name) > MAX_NAME:
                raise TooLargeError(
                    f"it names more than {MAX_CLASSES:,} classes, or one of over {MAX_NAME:,} characters"
                )
            self._classes[module, name] = _PlaceholderType(name, (Placeholder,), {"__module__": module})
        return self._classes[module, name]

    def _ordered_dict(self, items: Any = ()) -> Plain:
        plain = Plain()
        for key, value in items.items() if isinstance(items, dict) else items:
            self.check_key(key)
            plain[key] = value
        return plain

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # legacy files store classes with their source code; pid[1] is the class
            return pid[1]
        if pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise ValueError("a persistent id that is not a storage")
        view = pid[5] if len(pid) > 5 else None  # (its own key, offset, numel), in legacy files
        _, offset, numel = (None, 0, pid[4]) if view is None else view
        key = pid[2]
        if type(key) is not str:
            raise ValueError(f"key of a storage: expected a string, got {type(key).__name__}")
        self._storages[key] = pid[1].dtype
        return StorageRecord(key, pid[1].dtype, _int(offset), _int(numel))


def _tensor(storage: StorageRecord, offset: int, size: Any, stride: Any, *_: Any) -> TensorRecord:
    return TensorRecord(_storage(storage), storage.dtype, _int(offset), _ints(size), _ints(stride))


def _tensor_v3(storage: StorageRecord, offset: int, size: Any, stride: Any, *rest: Any) -> TensorRecord:
    """Rebuild a tensor whose dtype may differ from its storage's; rest: requires_grad, backward hooks, dtype."""
    if not isinstance(rest[2], torch.dtype):
        raise ValueError(f"dtype of a tensor: expected a torch.dtype, got {type(rest[2]).__name__}")
    return TensorRecord(_storage(storage), rest[2], _int(offset), _ints(size), _ints(stride))


def _storage(value: Any) -> StorageRecord:
    if not isinstance(value, StorageRecord):
        raise ValueError(f"data of a tensor: expected a storage, got {type(value).__name__}")
    return value


def _ints(values: Any) -> tuple[int, ...]:
    if len(values) > MAX_DIMENSIONS:
        raise TooLargeError(f"a tensor has {len(values):,} dimensions")
    return tuple(_int(value) for value in values)


def _int(value: Any) -> int:
    if type(value) is not int or value.bit_length() > 63:
        raise ValueError(f"expected an integer of at most 63 bits, got {type(value).__name__}")
    return value


def _parameter(data: TensorRecord, *_: Any) -> TensorRecord:
    return data


def _from_type(function: _Helper, _: Any, args: tuple[Any, ...], *__: Any) -> Any:
    if function not in (_TENSOR, _TENSOR_V3):
        raise ValueError("a tensor is rebuilt by an unknown function")
    return function(*args)


def _reconstructor(kind: Any, *_: Any) -> Any:
    return kind.__new__(kind)


_TENSOR, _TENSOR_V3 = _Helper(_tensor), _Helper(_tensor_v3)
_HELPERS = {
    ("copyreg", "_reconstructor"): _Helper(_reconstructor),
    ("torch", "Size"): _Helper(tuple),
    ("torch._utils", "_rebuild_tensor"): _TENSOR,
    ("torch._utils", "_rebuild_tensor_v2"): _TENSOR,
    ("torch._utils", "_rebuild_tensor_v3"): _TENSOR_V3,
    ("torch._utils", "_rebuild_parameter"): _Helper(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Helper(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): _Helper(_from_type),
    ("torch.nn.parameter", "Parameter"): _Helper(_parameter),
}
