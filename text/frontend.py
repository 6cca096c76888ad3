"""The front end of one voice: its symbols and cleaners, validated once and used for every text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from .characters import compose
from .cleaners import DEFAULT_CLEANERS, Cleaner, find_cleaners
from .errors import TextError, name_dropped, quote
from .lexicon import Lexicon
from .sequence import encode_text
from .symbols import ARPABET_MARK, NVIDIA_SYMBOLS, SymbolTable, is_letter
from .words import SpokenWord, find_words


class Encoded(NamedTuple):
    """A text as token ids, and what of it has none."""

    ids: list[int]
    dropped: tuple[str, ...]  # characters, and phones as "{PHONE}", each once and in order
    remarks: tuple[str, ...] = ()  # for people: phones that the voice was never trained on


def silent_text(text: str, dropped: Collection[str]) -> TextError:
    """The error for a text of which a voice can speak nothing. dropped: what it has no symbol for."""
    lost = f"; this voice has no symbol for: {name_dropped(dropped)}" if dropped else ""
    what = f"nothing of {quote(text)} can be spoken{lost}" if text.strip() else "the text is empty"
    return TextError(f"text: {what}; give at least one character from the voice's symbol list")


@dataclass(frozen=True)
class FrontEnd:
    """Converts text to token ids for one voice.

    Raises TextError at construction for an unknown cleaner, an unusable symbol list, or a final mark that it lacks.
    Lists become tuples.
    """

    symbols: tuple[str, ...] = NVIDIA_SYMBOLS  # in id order
    cleaners: tuple[str, ...] = DEFAULT_CLEANERS  # by name, in the order in which they run
    lexicon: Lexicon = field(default_factory=Lexicon, repr=False)  # words, and how this voice says them
    untrained: frozenset[str] = frozenset()  # symbols whose weights no training has changed
    final_mark: str = ""  # symbol after a text that ends with a letter, a digit or a phone; "": none
    _table: SymbolTable = field(init=False, repr=False, compare=False)
    _cleaners: list[Cleaner] = field(init=False, repr=False, compare=False)
    _letters: frozenset[int] = field(init=False, repr=False, compare=False)  # ids of letters, digits and phones

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", SymbolTable(self.symbols))
        object.__setattr__(self, "_cleaners", find_cleaners(self.cleaners))
        object.__setattr__(self, "symbols", tuple(self.symbols))
        object.__setattr__(self, "cleaners", tuple(self.cleaners))
        letters = frozenset(i for i, symbol in enumerate(self.symbols) if is_letter(symbol))
        object.__setattr__(self, "_letters", letters)
        if self.final_mark and self.final_mark not in self._table.ids:
            raise TextError(f"final mark: {quote(self.final_mark)} is not among the voice's symbols; leave it out")

    def encode(self, text: str) -> list[int]:
        """The ids that `read` returns."""
        return self.read(text).ids

    def read(self, text: str) -> Encoded:
        """Convert `text` to token ids. Whitespace is collapsed first: line breaks become spaces, the ends are stripped.
        A voice's final mark is added, unless the text has a mark of its own: without one, many voices find no end.

        Raises TextError if `text` is not a string, is empty, or if nothing of it can be spoken.
        """
        ids, dropped = self._encode(text)
        if not self._audible(ids):
            raise silent_text(text, dropped)
        return Encoded(ids, tuple(dropped), self._remarks(ids))

    def count_tokens(self, text: str) -> int:
        """Count the ids that `encode` returns; 0 if it would reject the text as silent."""
        return len(self.encode_or_drop(text))

    def encode_or_drop(self, text: str) -> list[int]:
        """The ids that `encode` returns; none if it would reject the text as silent."""
        ids, _ = self._encode(text)
        return ids if self._audible(ids) else []

    def lookup(self, text: str) -> list[int]:
        """The ids that `encode` returns; rejects nothing."""
        return self._encode(text)[0]

    def words(self, text: str) -> list[SpokenWord]:
        """The words of a text as they are written, in order, each with its tokens among those of `encode`."""
        return find_words(text, self._encode_unmarked(text)[0], self.symbols, self._lookup_part)

    def letters(self, ids: Sequence[int]) -> list[bool]:
        """For each token, true for a letter, a digit or a phone, false for a space or punctuation."""
        return [token in self._letters for token in ids]

    def sample(self, letters: int) -> str:
        """A text of so many letters, digits or phones that this voice speaks, trained ones first; "" if it has none."""
        tokens = sorted(self._letters, key=lambda token: (self.symbols[token] in self.untrained, token))
        written = (self._table.to_text(self.symbols[token]) for token in tokens)
        return "".join(islice(filter(self.count_tokens, written), letters)).replace("}{", " ")

    def name(self, token: int) -> str:
        """A token as people read it: a character, or a phone without its mark."""
        symbol = self.symbols[token]
        return symbol.removeprefix(ARPABET_MARK) if self._table.spells_phones and len(symbol) > 1 else symbol

    def _lookup_part(self, part: str) -> list[int]:
        return encode_text(self.lexicon.apply(part), self._cleaners, self._table, self._with_equivalents)[0]

    def _encode(self, text: str) -> tuple[list[int], dict[str, None]]:
        ids, dropped = self._encode_unmarked(text)
        return self._end(ids) if self.final_mark else ids, dropped

    def _encode_unmarked(self, text: str) -> tuple[list[int], dict[str, None]]:
        # Anything but a string is rejected by encode_text, which names its type.
        collapsed = " ".join(text.split()) if isinstance(text, str) else text
        if isinstance(text, str):
            collapsed = self.lexicon.apply(compose(collapsed) if self._with_equivalents else collapsed)
        return encode_text(collapsed, self._cleaners, self._table, self._with_equivalents)

    @property
    def _with_equivalents(self) -> bool:
        """False for the cleaners of the published voices, whose ids are NVIDIA's to the letter."""
        return "english_cleaners" not in self.cleaners

    def _remarks(self, ids: list[int]) -> tuple[str, ...]:
        phones = sorted({self.symbols[position] for position in set(ids)} & self.untrained)
        named = [f"{{{phone.removeprefix(ARPABET_MARK)}}}" for phone in phones if len(phone) > 1]
        remark = f"this voice was never trained on the {name_dropped(named)}; write a respelling instead"
        return (remark,) if named else ()

    def _end(self, ids: list[int]) -> list[int]:
        """Add the final mark to a text that ends with a letter, whatever spaces come after it."""
        last = next((i for i in reversed(range(len(ids))) if not self.symbols[ids[i]].isspace()), None)
        if last is None or ids[last] not in self._letters:
            return ids
        return [*ids[: last + 1], self._table.ids[self.final_mark]]

    def _audible(self, ids: list[int]) -> bool:
        return any(not self.symbols[position].isspace() for position in ids)
