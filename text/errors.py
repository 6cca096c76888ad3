"""What the front end says when it cannot use a text, or uses only part of it."""

from __future__ import annotations

import warnings
from collections.abc import Collection

_MOST_NAMED = 10  # names in one warning; a page of emoji must not become a page of warning
_LONGEST_QUOTE = 40  # characters of a quoted text, so that a message stays one line


class TextError(ValueError):
    """A text, symbol list or cleaner name that cannot be used; its one line names the way out."""


class DroppedSymbolWarning(UserWarning):
    """Part of a text has no symbol in this voice and is not spoken."""


def quote(value: object) -> str:
    """`value` as Python writes it, on one line and cut to a readable length."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_QUOTE else repr(value[:_LONGEST_QUOTE]) + "…"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[:_LONGEST_QUOTE] + "…"


def name_some(names: Collection[str]) -> str:
    """`names` as one list in words: at most ten of them, then how many more."""
    listed = list(names)
    rest = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def warn_dropped(dropped: Collection[str], stacklevel: int) -> None:
    """Warn once about everything in `dropped`, pointing `stacklevel` callers up; silent if nothing was."""
    if dropped:
        message = f"not spoken, this voice has no symbol for: {name_some(dropped)}"
        warnings.warn(message, DroppedSymbolWarning, stacklevel=stacklevel + 1)
