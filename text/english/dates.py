"""Dates and times of day."""

from __future__ import annotations

import re

from .numerals import apart, cardinal, ordinal, year
from .tables import AFTER_TIME, MONTHS, SHORT_MONTHS, SHORT_WEEKDAYS, TIME_ZONES

_FLAGS = re.ASCII | re.IGNORECASE
_ISO = re.compile(
    r"(?<![\w.,/:-])(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[T ](\d{2}|(?<=T)\d):(\d{2})(?! ?[apAP]\.?[mM]|\d)(?::(\d{2})(?:[.,]\d{1,9})?)?"
    r"(?: ?(Z|UTC|GMT|[+-]\d{2}:?\d{2})(?!\w))?)?(?![\d:/-])",
    re.ASCII,
)
_ISO_MONTH = re.compile(r"(?<![\w.,/:-])((?:19|20)(\d\d))-(0[1-9]|1[0-2])(?![\w:/-]|[.,]\d)", re.ASCII)
_SLASHED = re.compile(
    r"(?<![\w/.,-])(\d{1,2})(?:/(?=\d\d?/)|-(?=\d\d?-\d{4}))(\d{1,2})[/-](\d{4}|\d{2})(?![\w/-])", re.ASCII
)
_DOTTED = re.compile(r"(?<![\w.,])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\w|\.\d)", re.ASCII)

# "may" and "march" are other words if they begin in lower case.
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|(?-i:M)ar(?:ch)?|apr(?:il)?|(?-i:M)ay|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"
)
_NO_MORE = r"(?![\w:/%°]|[.,]\d)"  # a number ends here
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_MONTH_DAY = re.compile(
    rf"\b({_MONTH})\.? {_DAY}(?![-–]\d\d? ?[ap]\.? ?m\b)(?:[-–]{_DAY}(?![\d-]))?{_NO_MORE}"
    rf"(?:(,?) (\d{{4}}){_NO_MORE})?",
    _FLAGS,
)
_DAY_MONTH = re.compile(
    rf"(?<![\w.,:/$£€-])(?:the )?{_DAY}(?:(?: of)? |-)({_MONTH})(?:(\.)(?!\w))?(?:(?:,? |-)(\d{{4}}){_NO_MORE})?",
    _FLAGS,
)
_MONTH_YEAR = re.compile(rf"\b({_MONTH})\.?,? (\d{{4}}){_NO_MORE}", _FLAGS)
_SHORT_MONTH = re.compile(r"\b(Jan|Feb|Apr|Aug|Sept|Oct|Nov|Dec)(\.)", re.ASCII)
_SHORT_DAY = r"Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun"
_SHORT_WEEKDAY = re.compile(
    rf"\b({_SHORT_DAY})(?:\.(?= [a-z])|(?:\.(,)?|(,))(?= (?:(?i:{_MONTH})|\d{{1,2}}(?!\d)))"
    rf"|(?= (?:(?i:{_MONTH})\.? \d|\d{{1,2}}(?:st|nd|rd|th)? (?i:{_MONTH})))|(?<!the Sun)(?=\.(?:\s*\Z|\s+[A-Z])))",
    re.ASCII,
)
_WEEKDAYS = re.compile(rf"\b({_SHORT_DAY})\.? ?[-–] ?({_SHORT_DAY})\b", re.ASCII)

_HALF = r" ?([ap])(?:m(?!\w)|\. ?m(?!\w)(\.)?)"
_ZONE = rf"(?: ?\(?((?-i:{'|'.join(sorted(map(str.upper, TIME_ZONES)))}))\)?(?!\w))?"
_TIME = re.compile(
    rf"(?<![\d:.,])([01]?\d|2[0-3]|24(?=:00)):([0-5]\d)(?::([0-5]\d)(?:[.,]\d{{1,9}})?)?(?![\d:])"
    rf"(?: ?(?:h|hrs)(?!\w)|{_HALF})?{_ZONE}",
    _FLAGS,
)
_HOUR = re.compile(rf"(?<![\d:.,/$£€])(1[0-2]|0?[1-9])(?:\.([0-5]\d))?{_HALF}{_ZONE}", _FLAGS)
_TIME_RANGE = re.compile(
    r"(?<![\w:.,/$£€-])((?:1[0-2]|0?[1-9])(?::[0-5]\d)?(?: ?[ap]\.?m\.?)?|(?:[01]?\d|2[0-3]):[0-5]\d) ?[-–] ?"
    r"(?=(?:1[0-2]|0?[1-9]) ?[ap]\.?m|(?:[01]?\d|2[0-3]):[0-5]\d(?![\d:]))",
    _FLAGS,
)
_ENDS_SENTENCE = re.compile(r"[\"')\]]*(?:\s*\Z|\s*\n|\s+[\"'(]*([A-Z](?:[a-z]+|(?=[ '])))(?!\w))")


def expand_dates(text: str) -> str:
    """Write dates in words, in the order of the United States: "november twenty-fifth, twenty twenty-six"."""
    text = _ISO.sub(_iso, text)
    text = _ISO_MONTH.sub(_iso_month, text)
    text = _SLASHED.sub(_slashed, text)
    text = _DOTTED.sub(lambda match: _date(match[3], match[2], match[1]) or match[0], text)
    text = _WEEKDAYS.sub(lambda match: " to ".join(SHORT_WEEKDAYS[day.lower()] for day in match.groups()), text)
    text = _SHORT_WEEKDAY.sub(lambda match: SHORT_WEEKDAYS[match[1].lower()] + (match[2] or match[3] or ""), text)
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _MONTH_YEAR.sub(lambda match: f"{_month(match[1])} {year(match[2])}", text)
    return _SHORT_MONTH.sub(lambda match: _month(match[1]) + kept_stop(match, 2), text)


def expand_times(text: str) -> str:
    """Write times in words: "ten oh five p m", "ten o'clock", "fourteen hundred"."""
    text = _TIME_RANGE.sub(r"\1 to ", text)
    text = _TIME.sub(_time, text)
    return _HOUR.sub(_hour, text)


def kept_stop(match: re.Match[str], group: int) -> str:
    """The full stop that an abbreviation took, if it ends the sentence too: at the text's end, or before a new one."""
    if not match[group]:
        return ""
    following = _ENDS_SENTENCE.match(match.string, match.end())
    return "." if following and (following[1] or "").lower() not in AFTER_TIME else ""


def _month(name: str) -> str:
    return SHORT_MONTHS[name[:3].lower()]


def _date(year_digits: str, month: str, day: str) -> str:
    """The date in words; empty if it is not one."""
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return ""
    return f"{MONTHS[int(month) - 1]} {ordinal(day)}, {_year(year_digits)}"


def _year(digits: str) -> str:
    """A year of four digits, or of two: "99", "05"."""
    if len(digits) == 4:
        return year(digits)
    return f"oh {cardinal(digits[1])}" if digits[0] == "0" else cardinal(digits)


def _iso(match: re.Match[str]) -> str:
    date = _date(match[1], match[3], match[4])
    if not date or (match[5] and (int(match[5]) > 23 or int(match[6]) > 59)):
        return match[0]
    if not match[5]:
        return apart(match, date)
    zone = match[8]
    if zone and zone.isalpha():
        spoken = " g m t" if zone == "GMT" else " u t c"
    elif zone:
        sign, hours, minutes = zone[0], int(zone[1:3]), int(zone[-2:])
        spoken = f" u t c {'plus' if sign == '+' else 'minus'} {cardinal(str(hours))}"
        spoken += f" {cardinal(str(minutes))}" if minutes else ""
    else:
        spoken = ""
    seconds = f" and {cardinal(str(int(match[7])))} seconds" if match[7] and int(match[7]) else ""
    return apart(match, f"{date}, {_clock(int(match[5]), int(match[6]), half='')}{seconds}{spoken}")


def _iso_month(match: re.Match[str]) -> str:
    """Read "2024-05" as a month, but "2009-10" as years."""
    return match[0] if match[2] < match[3] and match[3][0] == "1" else f"{MONTHS[int(match[3]) - 1]} {year(match[1])}"


def _slashed(match: re.Match[str]) -> str:
    """Month first, as in the United States, unless it can only be the day."""
    first, second, year_digits = match.groups()
    month, day = (second, first) if int(first) > 12 else (first, second)
    return _date(year_digits, month, day) or match[0]


def _month_day(match: re.Match[str]) -> str:
    month, day, last, comma, year_digits = match.groups()
    if not 1 <= int(day) <= int(last or 31) <= 31:
        return match[0]
    days = f"{ordinal(day)} to {ordinal(last)}" if last else ordinal(day)
    return f"{_month(month)} {days}" + (f"{comma} {year(year_digits)}" if year_digits else "")


def _day_month(match: re.Match[str]) -> str:
    day, month, _, year_digits = match.groups()
    if not 1 <= int(day) <= 31:
        return match[0]
    spoken = f"the {ordinal(day)} of {_month(month)}"
    return f"{spoken} {year(year_digits)}" if year_digits else spoken + kept_stop(match, 3)


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half, _, zone = match.groups()
    if second is not None and half is None and zone is None:
        return apart(match, _duration(hour, minute, second))
    spoken = _clock(int(hour), int(minute), half)
    if second and int(second):
        spoken += f" and {cardinal(str(int(second)))} seconds"
    return apart(match, f"{spoken}{_suffix(match, half, zone)}")


def _hour(match: re.Match[str]) -> str:
    hour, minute, half, _, zone = match.groups()
    return f"{_clock(int(hour), int(minute or 0), half)}{_suffix(match, half, zone)}"


def _suffix(match: re.Match[str], half: str | None, zone: str | None) -> str:
    if zone:
        return (f" {half.lower()} m" if half else "") + " " + " ".join(zone.lower())
    return f" {half.lower()} m{kept_stop(match, match.re.groups - 1)}" if half else ""


def _clock(hour: int, minute: int, half: str | None) -> str:
    """A time without its half of the day: 10 and 5 are "ten oh five", 14 and 0 "fourteen hundred"."""
    if minute:
        minutes = f" oh {cardinal(str(minute))}" if minute < 10 else f" {cardinal(str(minute))}"
    elif half:
        minutes = ""
    else:
        minutes = " o'clock" if 1 <= hour <= 12 else " hundred"
    return cardinal(str(hour)) + minutes


def _duration(hour: str, minute: str, second: str) -> str:
    parts = ((int(hour), "hour"), (int(minute), "minute"), (int(second), "second"))
    spoken = [f"{cardinal(str(value))} {name}{'' if value == 1 else 's'}" for value, name in parts]
    return f"{spoken[0]} {spoken[1]} and {spoken[2]}"
