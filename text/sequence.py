"""Converts text to token ids and back: NVIDIA's `text_to_sequence`, for any symbol list."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import category

from .braces import brace_groups
from .characters import SILENT_CATEGORIES, find_equivalent
from .cleaners import DEFAULT_CLEANERS, Cleaner, find_cleaners, untransliterable
from .errors import TextError, quote, warn_dropped
from .symbols import NVIDIA_SYMBOLS, SymbolTable


def text_to_sequence(
    text: str,
    cleaner_names: Sequence[str] = DEFAULT_CLEANERS,
    symbols: Sequence[str] = NVIDIA_SYMBOLS,
) -> list[int]:
    """Convert `text` to token ids: positions in `symbols`.

    The ids are identical to those of NVIDIA/tacotron2 `text/__init__.py`, quirks included: `_` and `~` are never
    emitted, phones in braces are case-sensitive ARPAbet, and if the first line of a text has a brace group, all
    following lines are ignored (`FrontEnd.encode` removes line breaks first). One DroppedSymbolWarning names
    everything that is dropped. A symbol list without ARPAbet may have symbols of several characters; they are
    written in braces.

    Raises TextError if `text` is not a string, a cleaner is unknown, or `symbols` is not a list of distinct
    strings.
    """
    ids, dropped = encode_text(text, find_cleaners(cleaner_names), SymbolTable(symbols))
    warn_dropped(dropped, stacklevel=2)
    return ids


def sequence_to_text(ids: Iterable[int], symbols: Sequence[str] = NVIDIA_SYMBOLS) -> str:
    """Convert token ids to text, with phones in braces; ids outside the list are skipped.

    Raises TextError if an id is not an integer, or for a symbol list that text_to_sequence rejects.
    """
    table = SymbolTable(symbols)
    positions = (_as_index(value) for value in ids)
    parts = (table.to_text(table.symbols[index]) for index in positions if 0 <= index < len(table.symbols))
    return "".join(parts).replace("}{", " ")


def encode_text(
    text: str, cleaners: Sequence[Cleaner], table: SymbolTable, with_equivalents: bool = False
) -> tuple[list[int], dict[str, None]]:
    """Convert `text` without warning: return the ids and what was dropped, each once and in order.

    Dropped are characters, phones as "{PHONE}", and the lines after the first, which begin with their line break.

    with_equivalents: a character without a symbol is spoken by an equivalent that has one, and what is dropped between
    two words leaves a space.
    """
    if not isinstance(text, str):
        raise TextError(f"text: expected a string, got {type(text).__name__} {quote(text)}")
    ids: list[int] = []
    dropped: dict[str, None] = {}
    for part, in_braces in _parts(text, dropped):
        if in_braces:
            tokens: Sequence[str] = part.split()
            found = [table.ids.get(table.braced_symbol(token)) for token in tokens]
        else:
            dropped.update(dict.fromkeys(untransliterable(part, cleaners)))
            tokens = _clean(part, cleaners)
            if with_equivalents:
                tokens = _with_equivalents(tokens, table)
            found = [table.ids.get(character) for character in tokens]
        lost = dict.fromkeys(token for token, position in zip(tokens, found, strict=True) if position is None)
        if with_equivalents and lost and not in_braces:
            found = _with_spaces(tokens, found, table)
        ids.extend(position for position in found if position is not None)
        dropped.update((f"{{{token}}}" if in_braces else token, None) for token in lost)
    return ids, dropped


def _with_equivalents(text: str, table: SymbolTable) -> str:
    if all(character in table.ids for character in text):
        return text
    missing = {character for character in set(text) if character not in table.ids}
    replaced = {character: find_equivalent(character, table.ids) for character in missing}
    return "".join(replaced.get(character) or character for character in text)


def _with_spaces(tokens: Sequence[str], found: list[int | None], table: SymbolTable) -> list[int | None]:
    """Put one space in place of the tokens without an id between two letters or digits, if the voice has a space."""
    space, spaced = table.ids.get(" "), list(found)
    last = -1  # the last token with an id
    for i, position in enumerate(found):
        if position is None:
            continue
        if 0 <= last < i - 1 and tokens[last].isalnum() and tokens[i].isalnum():
            silent = all(category(token) in SILENT_CATEGORIES for token in tokens[last + 1 : i])
            spaced[i - 1] = None if silent else space
        last = i
    return spaced


def _parts(text: str, dropped: dict[str, None]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of `text` in order: (plain text, False) or (contents of a brace group, True)."""
    line_end = text.find("\n") if "\n" in text else len(text)
    spoken = 0
    for start, stop in brace_groups(text, line_end):
        yield text[spoken:start], False
        yield text[start + 1 : stop - 1], True
        spoken = stop
    if spoken and text[line_end:].strip():
        dropped[text[line_end:].rstrip()] = None
    yield text[spoken : line_end if spoken else len(text)], False


def _clean(text: str, cleaners: Sequence[Cleaner]) -> str:
    for cleaner in cleaners:
        text = cleaner(text)
    return text


def _as_index(value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TextError(f"ids: expected integers, got {type(value).__name__} {quote(value)}") from None
