"""Errors and warnings about texts that the front end cannot use, or only in part."""

from __future__ import annotations

import warnings
from collections.abc import Collection

_MOST_NAMED = 10  # names in one warning, so that a page of emoji does not become a page of warning
_LONGEST_QUOTE = 40  # characters of a quoted value, so that messages stay short


class TextError(ValueError):
    """An unusable text, symbol list or cleaner name; the message is one line and says how to fix it."""


class DroppedSymbolWarning(UserWarning):
    """Part of a text has no symbol in the voice and is not spoken."""


def quote(value: object) -> str:
    """Return repr(value), cut to a readable length."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_QUOTE else repr(value[:_LONGEST_QUOTE]) + "…"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[:_LONGEST_QUOTE] + "…"


def name_some(names: Collection[str]) -> str:
    """Join at most ten of `names` with commas, then say how many more there are."""
    listed = list(names)
    rest = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def warn_dropped(dropped: Collection[str], stacklevel: int) -> None:
    """Warn once about everything in `dropped`, if anything, from the caller `stacklevel` levels up."""
    if dropped:
        message = f"not spoken, this voice has no symbol for: {name_some(dropped)}"
        warnings.warn(message, DroppedSymbolWarning, stacklevel=stacklevel + 1)
