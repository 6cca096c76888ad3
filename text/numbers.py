"""Writes numbers in words, as in the training texts of the published English voices.

The rules, their order and their oddities are those of NVIDIA/tacotron2 `text/numbers.py` (from keithito/tacotron):
"$1.5" is "one dollar, five cents", "1.2.3" keeps its second full stop, and any number from 1001 to 2999 is read as
a year. There are two differences. Inputs that crash NVIDIA's code are spoken: stray commas in an amount are ignored,
and a number too long for inflect is read digit by digit. And every pattern runs in time linear in the text.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

_GROUPED = re.compile(r"[0-9][0-9,]+[0-9]")
_POUNDS = re.compile(r"£([0-9,]*[0-9]+)")
_DOLLARS = re.compile(r"\$([0-9.,]*[0-9]+)")
# The look-behind matches a number at its first digit only. A match that fails there fails at the other digits too,
# and trying them all would take quadratic time on a long run of digits.
_DECIMAL = re.compile(r"(?<![0-9])[0-9]+\.[0-9]+")
_ORDINAL = re.compile(r"(?<![0-9])([0-9]+)(st|nd|rd|th)")
_NUMBER = re.compile(r"[0-9]+")

LONGEST_NUMBER = 36  # digits; the largest unit that inflect has a word for is the decillion
_import_lock = Lock()
_engine_lock = Lock()  # inflect stores the number being converted in the engine object, so it is not thread-safe


def normalize_numbers(text: str) -> str:
    """Write the amounts, decimals, ordinals and numbers of a lower-case `text` in words."""
    text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    text = _POUNDS.sub(r"\1 pounds", text)
    text = _DOLLARS.sub(lambda match: _dollars(match[1]), text)
    text = _DECIMAL.sub(lambda match: match[0].replace(".", " point "), text)
    text = _ORDINAL.sub(lambda match: _ordinal(significant(match[1]), match[2]), text)
    return _NUMBER.sub(lambda match: _number(significant(match[0])), text)


def significant(digits: str) -> str:
    """Strip leading zeros; "0" if there are only zeros. Works on text because int() rejects over 4,300 digits."""
    return digits.lstrip("0") or "0"


def _dollars(amount: str) -> str:
    """Write "12.05" as "12 dollars, 5 cents"; an amount with several full stops just gets "dollars" appended."""
    parts = amount.split(".")
    if len(parts) > 2:
        return f"{amount} dollars"
    values = [significant(part.replace(",", "")) for part in parts]
    spoken = [
        f"{value} {unit}" if value == "1" else f"{value} {unit}s"
        for value, unit in zip(values, ("dollar", "cent"), strict=False)
        if value != "0"
    ]
    return ", ".join(spoken) or "zero dollars"


def _ordinal(digits: str, suffix: str) -> str:
    if len(digits) > LONGEST_NUMBER:
        return f"{_digit_by_digit(digits[:-1])} {_ordinal(digits[-1], suffix)}"
    return in_words(digits + suffix)


def _number(digits: str) -> str:
    if len(digits) > LONGEST_NUMBER:
        return _digit_by_digit(digits)
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return _year(int(digits))
    return in_words(digits, andword="")


def _year(number: int) -> str:
    """Write 1905 as "nineteen oh five"; 2000 to 2009 and full centuries have special forms."""
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010:
        return f"two thousand {in_words(str(rest))}" if rest else "two thousand"
    if rest == 0:
        return f"{in_words(str(century))} hundred"
    return in_words(str(number), andword="", zero="oh", group=2).replace(", ", " ")


def _digit_by_digit(digits: str) -> str:
    return " ".join(map(in_words, digits))


@cache
def load_inflect() -> ModuleType:
    """Import inflect, which most texts do not need, without its run-time type checks.

    Typeguard compiles each checked function a second time, which takes two of the import's two and a half seconds.
    """
    try:
        import typeguard
    except ImportError:  # older versions of inflect check nothing
        return import_module("inflect")
    with _import_lock:
        checked = typeguard.typechecked
        typeguard.typechecked = lambda function: function  # type: ignore[assignment]
        try:
            return import_module("inflect")
        finally:
            typeguard.typechecked = checked


@cache
def _engine() -> inflect.engine:
    engine: inflect.engine = load_inflect().engine()
    return engine


@lru_cache(maxsize=4096)  # numbers recur, and inflect takes tens of microseconds for each
def in_words(number: str, andword: str = "and", zero: str = "zero", group: int = 0) -> str:
    with _engine_lock:
        return str(_engine().number_to_words(number, andword=andword, zero=zero, group=group))
