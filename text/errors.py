"""Errors and warnings about texts that the front end cannot use, or only in part."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Collection

_MOST_NAMED = 10  # names in one warning, so that a page of emoji does not become a page of warning
_LONGEST_QUOTE = 40  # characters of a quoted value, so that messages stay short


class TextError(ValueError):
    """An unusable text, symbol list or cleaner name; the message is one line and says how to fix it."""


class MarkupError(TextError):
    """A pause or an SSML document that cannot be read."""


class DroppedSymbolWarning(UserWarning):
    """Part of a text has no symbol in the voice and is not spoken."""


class RemarkWarning(UserWarning):
    """Part of a text is not spoken as it asks, such as phones that the voice was never trained on."""


def quote(value: object) -> str:
    """Return repr(value), cut to a readable length."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_QUOTE else repr(value[:_LONGEST_QUOTE]) + "…"
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[:_LONGEST_QUOTE] + "…"


def name_dropped(dropped: Collection[str]) -> str:
    """Name at most ten of the dropped symbols, with commas between them, then say how many more there are."""
    names = [_name(symbol) for symbol in itertools.islice(dropped, _MOST_NAMED)]
    rest = len(dropped) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def describe_dropped(dropped: Collection[str]) -> str:
    """One line that names what is not spoken, for people; empty if nothing was dropped."""
    return f"not spoken, this voice has no symbol for: {name_dropped(dropped)}" if dropped else ""


def warn_dropped(dropped: Collection[str], stacklevel: int) -> None:
    """Warn once about everything in `dropped`, if anything, from the caller `stacklevel` levels up."""
    if dropped:
        warnings.warn(describe_dropped(dropped), DroppedSymbolWarning, stacklevel=stacklevel + 1)


def warn_of_remarks(remarks: Collection[str], stacklevel: int) -> None:
    """Warn of each remark, from the caller `stacklevel` levels up."""
    for remark in remarks:
        warnings.warn(remark, RemarkWarning, stacklevel=stacklevel + 1)


def _name(symbol: str) -> str:
    if len(symbol) == 1:
        return repr(symbol)
    if symbol.startswith("\n"):
        return f"the lines after the first, {quote(symbol.strip())}"
    return f"phone {quote(symbol[1:-1])}"
