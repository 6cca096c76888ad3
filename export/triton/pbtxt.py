"""Protobuf's text format, as far as a config.pbtxt needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Word(str):
    """An enum's value: written without quotes."""

    __slots__ = ()


def to_pbtxt(message: Mapping[str, Any]) -> str:
    """A message's fields; a list is a repeated field, a mapping a message. An empty list is left out."""
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
    return json.dumps(value)  # quotes, escapes and true/false are protobuf's too
