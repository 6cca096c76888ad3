"""Writes times, dates, units, emails and web addresses as they are spoken; numbers are left to the number cleaner.

Only for voices whose training texts were written out so: the published voices were trained without it. Every pattern
runs in time linear in the text.
"""

from __future__ import annotations

import re

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
# Unit -> its name for one, and for any other number. Letters that are as likely something else ("m", "in", "s") are
# left alone.
UNITS = {
    "%": ("percent", "percent"),
    "°c": ("degree celsius", "degrees celsius"),
    "°f": ("degree fahrenheit", "degrees fahrenheit"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "kwh": ("kilowatt hour", "kilowatt hours"),
    "kw": ("kilowatt", "kilowatts"),
    "khz": ("kilohertz", "kilohertz"),
    "mhz": ("megahertz", "megahertz"),
    "ghz": ("gigahertz", "gigahertz"),
    "hz": ("hertz", "hertz"),
    "kb": ("kilobyte", "kilobytes"),
    "mb": ("megabyte", "megabytes"),
    "gb": ("gigabyte", "gigabytes"),
    "tb": ("terabyte", "terabytes"),
    "ms": ("millisecond", "milliseconds"),
    "min": ("minute", "minutes"),
}
SIGNS = {".": " dot ", "@": " at ", "-": " dash ", "_": " underscore ", "+": " plus ", "/": " slash ", ":": " colon "}

_EMAIL = re.compile(r"(?<![\w.+-])[\w+-][\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_ADDRESS = re.compile(r"(?<![\w.])(?:https?://|(?=www\.))((?:[\w.:/-]{0,200}[\w/])?)", re.IGNORECASE)
_ISO_DATE = re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])")
_SLASHED_DATE = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])")
_DOTTED_DATE = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)")
_SHORT_MONTH = re.compile(r"\b(jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.? (?=\d)", re.IGNORECASE)
_TIME = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])(?: ?([ap])\.?m\b\.?)?", re.IGNORECASE)
_HOUR = re.compile(r"(?<![\d:.,])(1[0-2]|[1-9]) ?([ap])\.?m\b\.?", re.IGNORECASE)
_LARGE_AMOUNT = re.compile(r"\$(\d{1,3}(?:[.,]\d{1,3})?) ?(thousand|million|billion|trillion)\b", re.IGNORECASE)
_UNIT = re.compile(
    rf"(?<![\d.,])(\d{{1,12}}(?:[.,]\d{{1,12}})?) ?({'|'.join(map(re.escape, sorted(UNITS, key=len, reverse=True)))})"
    r"(?![\w/])",
    re.IGNORECASE,
)


def expand_notations(text: str) -> str:
    """Write a text's times, dates, units, emails and web addresses in words and plain numbers."""
    text = _EMAIL.sub(lambda match: _spell_signs(match[0]), text)
    text = _ADDRESS.sub(lambda match: _spell_signs(match[1]), text)
    text = _ISO_DATE.sub(lambda match: _date(match, match[1], match[2], match[3]), text)
    text = _SLASHED_DATE.sub(_slashed_date, text)
    text = _DOTTED_DATE.sub(lambda match: _date(match, match[3], match[2], match[1]), text)
    text = _SHORT_MONTH.sub(lambda match: f"{_month(match[1])} ", text)
    text = _TIME.sub(_time, text)
    text = _HOUR.sub(lambda match: f"{match[1]} {match[2]} m", text)
    text = _LARGE_AMOUNT.sub(r"\1 \2 dollars", text)
    return _UNIT.sub(lambda match: f"{match[1]} {UNITS[match[2].lower()][match[1] != '1']}", text)


def _spell_signs(address: str) -> str:
    return "".join(SIGNS.get(character, character) for character in address).replace("  ", " ").strip()


def _month(short: str) -> str:
    return next(month for month in MONTHS if month.startswith(short[:3].lower()))


def _date(match: re.Match[str], year: str, month: str, day: str) -> str:
    """Write a date as "november 25th, 2026"; what is not a date is left alone."""
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return f"{MONTHS[int(month) - 1]} {_ordinal(int(day))}, {year}"


def _slashed_date(match: re.Match[str]) -> str:
    """Month first, as in the United States, unless it can only be the day."""
    first, second, year = match.groups()
    month, day = (second, first) if int(first) > 12 else (first, second)
    return _date(match, year, month, day)


def _ordinal(number: int) -> str:
    suffix = "th" if 11 <= number <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _time(match: re.Match[str]) -> str:
    """Write 10:05 pm as "10 oh 5 p m", 10:00 as "10 o'clock" and 14:00 as "14 hundred"."""
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    if minute:
        minutes = f" oh {minute}" if minute < 10 else f" {minute}"
    elif half:
        minutes = ""
    else:
        minutes = " o'clock" if 1 <= hour <= 12 else " hundred"
    return f"{hour}{minutes}" + (f" {half.lower()} m" if half else "")
