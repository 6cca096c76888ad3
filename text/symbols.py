"""Symbol lists: the symbols that a voice can read, in the order of its embedding's rows.

A symbol's position in the list is its token id, so the order is fixed by the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

from .errors import TextError, quote

ARPABET_MARK = "@"  # distinguishes the phone @B from the letter B
NEVER_SPOKEN = frozenset("_~")  # padding and end-of-sequence symbols; NVIDIA's front end never emits them

_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
_STRESSES = ("", "0", "1", "2")  # unmarked, none, primary, secondary


def _nvidia_symbols() -> tuple[str, ...]:
    """List the 148 symbols of NVIDIA/tacotron2 `text/symbols.py`; the phones are in alphabetical order."""
    phones = sorted([vowel + stress for vowel in _VOWELS for stress in _STRESSES] + _CONSONANTS)
    letters = ascii_uppercase + ascii_lowercase
    return ("_", "-", *"!'(),.:;? ", *letters, *(ARPABET_MARK + phone for phone in phones))


NVIDIA_SYMBOLS: tuple[str, ...] = _nvidia_symbols()


def is_letter(symbol: str) -> bool:
    """True for letters, digits and phones; false for spaces, punctuation and padding."""
    return any(map(str.isalnum, symbol))


class SymbolTable:
    """A symbol list, indexed for look-ups.

    Raises TextError if the list is empty, or contains anything but strings or a symbol twice.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.ids = _symbol_ids(symbols)  # {symbol: token id}, without NEVER_SPOKEN
        self.symbols = tuple(symbols)
        self.spells_phones = any(map(_is_phone, symbols))

    def braced_symbol(self, token: str) -> str:
        """Return the symbol that `token` in braces means: a phone, or any symbol if the list has no phones."""
        return ARPABET_MARK + token if self.spells_phones else token

    def to_text(self, symbol: str) -> str:
        """Return `symbol` as it is written in a text: phones and symbols of several characters in braces."""
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
                f"symbols[{position}]: {quote(symbol)} is already symbols[{ids[symbol]}]; "
                "each symbol has one id, so remove the duplicate"
            )
        ids[symbol] = position
    return {symbol: position for symbol, position in ids.items() if symbol not in NEVER_SPOKEN}


def _is_phone(symbol: str) -> bool:
    """True if `symbol` is an ARPAbet phone, such as `@AH0`; a lone `@` is an ordinary character."""
    return len(symbol) > 1 and symbol.startswith(ARPABET_MARK)
