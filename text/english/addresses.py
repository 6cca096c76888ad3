"""Emails, web addresses and file names, sign by sign: "a@b.org" is "a at b dot org"."""

from __future__ import annotations

import re

from .numerals import cardinal, digit_by_digit, year
from .tables import ADDRESS_SIGNS, DOMAINS, FILE_ENDINGS

_EMAIL = re.compile(r"(?<![\w.+-])[\w+-][\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", re.ASCII)
_WEB = re.compile(r"(?<![\w.])(?:(?:https?|ftp)://|(?=www\.))([^\s<>\"{}]*)", re.ASCII | re.IGNORECASE)
_ENDINGS = (*DOMAINS, *FILE_ENDINGS)
_NAME = re.compile(
    rf"(?<![\w.@/-])(?:[\w-]{{1,63}}\.){{1,8}}(?:{'|'.join(_ENDINGS)}|{'|'.join(_ENDINGS).upper()}|[a-z]{{2}}(?=/))"
    r"(?![\w-]|\.\w)(?:/[^\s<>\"{}]*)?",
    re.ASCII,
)
_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]")
_AFTER = ".,;:!?)]'"  # punctuation of the sentence at an address's end


def expand_addresses(text: str) -> str:
    text = _EMAIL.sub(lambda match: spell_address(match[0]), text)
    text = _WEB.sub(lambda match: spell_address(match[1]), text)
    return _NAME.sub(_name, text)


def _name(match: re.Match[str]) -> str:
    """A name that is not an address by its form alone needs a letter: "3.co" is a number."""
    return spell_address(match[0]) if any(map(str.isalpha, match[0].partition(".")[0])) else match[0]


def spell_address(address: str) -> str:
    name = address.rstrip(_AFTER)
    return " ".join(map(_token, _TOKEN.findall(name.rstrip("/") or name))) + address[len(name) :]


def _token(token: str) -> str:
    if not "0" <= token[0] <= "9":  # "²" is a digit too
        return ADDRESS_SIGNS.get(token, token)
    if token[0] == "0" or len(token) > 4:
        return digit_by_digit(token)
    return year(token) if len(token) == 4 else cardinal(token)
