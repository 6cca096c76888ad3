"""Symbol lists: what a voice can read, in the order of its embedding's rows.

The order is the checkpoint's own and cannot be changed afterwards: a symbol's position is its token id.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

from .errors import TextError, quote

ARPABET_MARK = "@"  # sets the phone @B apart from the letter B
NEVER_SPOKEN = frozenset("_~")  # pad and end-of-sequence marks; NVIDIA's front end never emits them

_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
_STRESSES = ("", "0", "1", "2")  # unmarked, none, primary, secondary


def _nvidia_symbols() -> tuple[str, ...]:
    """The 148 symbols of NVIDIA/tacotron2 `text/symbols.py`; its phones are in alphabetical order."""
    phones = sorted([vowel + stress for vowel in _VOWELS for stress in _STRESSES] + _CONSONANTS)
    letters = ascii_uppercase + ascii_lowercase
    return ("_", "-", *"!'(),.:;? ", *letters, *(ARPABET_MARK + phone for phone in phones))


NVIDIA_SYMBOLS: tuple[str, ...] = _nvidia_symbols()


class SymbolTable:
    """A symbol list made ready for looking up.

    Raises TextError if the list is empty, holds something other than strings, or holds a symbol twice.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.ids = _symbol_ids(symbols)  # without the marks that are never spoken: {symbol: token id}
        self.symbols = tuple(symbols)
        self.spells_phones = any(map(_is_phone, symbols))

    def in_braces(self, token: str) -> str:
        """The symbol that `token` in braces names: a phone, or any symbol of a list without phones."""
        return ARPABET_MARK + token if self.spells_phones else token

    def shown(self, symbol: str) -> str:
        """`symbol` as one writes it in a text: braces around what cannot be written as a character."""
        if self.spells_phones:
            return f"{{{symbol.removeprefix(ARPABET_MARK)}}}" if _is_phone(symbol) else symbol
        return f"{{{symbol}}}" if len(symbol) > 1 else symbol


def _symbol_ids(symbols: Sequence[str]) -> dict[str, int]:
    if not isinstance(symbols, Sequence) or not symbols:
        raise TextError(f"symbols: expected the voice's list of symbols in id order, got {quote(symbols)}")
    ids: dict[str, int] = {}
    for position, symbol in enumerate(symbols):
        if not isinstance(symbol, str):
            raise TextError(f"symbols[{position}]: expected a string, got {quote(symbol)}")
        if symbol in ids:
            raise TextError(
                f"symbols[{position}]: {quote(symbol)} stands at {ids[symbol]} already; "
                "each symbol has one id, so make the list's entries distinct"
            )
        ids[symbol] = position
    return {symbol: position for symbol, position in ids.items() if symbol not in NEVER_SPOKEN}


def _is_phone(symbol: str) -> bool:
    """Whether `symbol` is an ARPAbet phone, such as `@AH0`; a lone `@` is just a character."""
    return len(symbol) > 1 and symbol.startswith(ARPABET_MARK)
