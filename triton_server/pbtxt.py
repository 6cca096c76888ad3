"""Writes protobuf's text format, as far as config.pbtxt needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Word(str):
    """An enum value, written without quotes."""

    __slots__ = ()


def to_pbtxt(message: Mapping[str, Any]) -> str:
    """Format the fields of a message: a list is a repeated field, omitted if empty; a mapping is a nested message."""
    return "\n".join(_fields(message, "")) + "\n"


def _fields(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Mapping):
                yield f"{indent}{name} {{"
                yield from _fields(entry, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(entry)}"


def _scalar(value: Any) -> str:
    if isinstance(value, Word):
        return value
    return json.dumps(value)  # JSON's quotes, escapes, true and false are valid protobuf text
