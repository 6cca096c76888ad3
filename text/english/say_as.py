"""The readings of SSML's <say-as>: functions from (text, format) to words; None if the text is not of that kind."""

from __future__ import annotations

import re
from collections.abc import Callable

from .amounts import expand_numbers
from .dates import expand_times
from .numerals import NUMBER, cardinal, decimal, digit_by_digit, ordinal, parse_number, year
from .tables import ADDRESS_SIGNS, MONTHS, SHORT_MONTHS

_NUMBER = re.compile(rf"([-−+]?)({NUMBER})")
_ORDINAL = re.compile(r"([0-9]+)(?:st|nd|rd|th)?", re.IGNORECASE | re.ASCII)
_FIELD = re.compile(r"[0-9]+|[A-Za-z]+")
_DURATION = re.compile(r"([0-9]{1,3})'(?:([0-9]{1,2})(?:\"|''))?")
_GROUPING_SPACE = re.compile(r"(?<=[0-9])[ '](?=[0-9]{3}(?![0-9]))")
LENGTH_WITHOUT_SIGNS = 8  # of a date, as 20240115
_SIGNS = {"-": "minus ", "−": "minus ", "+": "plus ", "": ""}
_BESIDE_DAYS = frozenset("st nd rd th of the".split())
_ORDERS = {"mdy": "mdy", "dmy": "dmy", "ymd": "ymd", "ydm": "ydm", "md": "md", "dm": "dm", "my": "my", "ym": "ym"}
_SINGLE = {"m": "m", "d": "d", "y": "y"}


def characters(text: str, _: str) -> str | None:
    """Each letter and digit by itself: "WiFi-2" is "W I F I dash two"."""
    spoken = [
        digit_by_digit(character)
        if "0" <= character <= "9"
        else ADDRESS_SIGNS.get(character, character.upper() if character.isascii() else character)
        for character in text
        if not character.isspace()
    ]
    return " ".join(spoken) or None


def digits(text: str, _: str) -> str | None:
    """Each digit by itself, with a comma between groups: "555-12" is "five five five, one two"; and words."""
    groups = _FIELD.findall(text)
    plus = "plus " if text.startswith("+") else ""
    spoken = [digit_by_digit(group) if group[0].isdigit() else group for group in groups]
    return plus + ", ".join(spoken) if spoken != groups else None


def number(text: str, _: str) -> str | None:
    match = _NUMBER.fullmatch(_GROUPING_SPACE.sub(",", text))
    parsed = parse_number(match[2]) if match else None
    if match is None or parsed is None:
        return None
    whole, fraction = parsed
    return _SIGNS[match[1]] + decimal(whole.lstrip("0") or "0", fraction, is_grouped=True)


def ordinal_number(text: str, _: str) -> str | None:
    match = _ORDINAL.fullmatch(text.replace(",", ""))
    return ordinal(match[1]) if match else None


def mixed_fraction(text: str, form: str) -> str | None:
    """A fraction, also with a whole number before it: "1+1/2"."""
    return notation(text.replace("+", " "), form)


def notation(text: str, _: str) -> str | None:
    """Fractions, units, currencies: what the cleaners read by themselves."""
    return expand_numbers(text).strip() or None


def date(text: str, form: str) -> str | None:
    """A date whose fields are in the order of `form`, such as "dmy"; without it month, day, year, or year first."""
    fields = [field for field in _FIELD.findall(text) if field.lower() not in _BESIDE_DAYS]
    if len(fields) == 1 and len(fields[0]) == LENGTH_WITHOUT_SIGNS and fields[0].isdigit():
        fields = [fields[0][:4], fields[0][4:6], fields[0][6:]]
    named = [field for field in fields if field[:3].lower() in SHORT_MONTHS]
    order = "".join(filter(str.isalpha, form.lower()))
    order = order.replace("yyyy", "y").replace("mm", "m").replace("dd", "d")
    if order not in _ORDERS and order not in _SINGLE:
        is_day_first = bool(named and fields[0] != named[0]) or bool(fields and _is_day(fields[0]))
        order = "ymd" if fields and len(fields[0]) == 4 else "dmy" if is_day_first else "mdy"
        if len(fields) < len(order):
            order = order.replace("y", "")
    if len(fields) != len(order):
        return None
    parts = dict(zip(order, fields, strict=True))
    month, day = parts.get("m"), parts.get("d")
    if month is not None:
        month = _month(month)
        if month is None:
            return None
    if day is not None and not (day.isdigit() and 1 <= int(day[:3]) <= 31):
        return None
    if "y" in parts and not (parts["y"].isdigit() and len(parts["y"]) in (2, 4)):
        return None
    spoken = " ".join(filter(None, (month, None if day is None else ordinal(day))))
    return ", ".join(filter(None, (spoken, _year(parts["y"]) if "y" in parts else None)))


def time(text: str, _: str) -> str | None:
    """A time of day, "2:30pm", or minutes and seconds, 1'21"."""
    match = _DURATION.fullmatch(text)
    if match:
        minutes = f"{cardinal(match[1])} minute{'' if match[1] == '1' else 's'}"
        return minutes + (f" {cardinal(str(int(match[2])))} seconds" if match[2] else "")
    spoken = expand_times(text)
    return None if spoken == text else spoken


def _is_day(field: str) -> bool:
    return field.isdigit() and len(field) == 2 and field > "12"


def _month(field: str) -> str | None:
    if field.isdigit():
        return MONTHS[int(field) - 1] if len(field) <= 2 and 1 <= int(field) <= 12 else None
    return SHORT_MONTHS.get(field[:3].lower())


def _year(field: str) -> str:
    if len(field) == 4:
        return year(field)
    return f"oh {cardinal(field[1])}" if field[0] == "0" else cardinal(field)


SAY_AS: dict[str, Callable[[str, str], str | None]] = {
    "characters": characters,
    "spell-out": characters,
    "verbatim": characters,
    "digits": digits,
    "telephone": digits,
    "cardinal": number,
    "number": number,
    "ordinal": ordinal_number,
    "fraction": mixed_fraction,
    "unit": notation,
    "currency": notation,
    "date": date,
    "time": time,
}
