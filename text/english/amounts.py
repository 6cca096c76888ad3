"""Amounts of money, measures, and every other number: each with its sign, its scale and its unit."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .numerals import (
    GROUPED_BY_STOPS,
    NUMBER,
    apart,
    cardinal,
    decade,
    decimal,
    digit_by_digit,
    fraction,
    ordinal,
    parse_number,
    year,
)
from .tables import CENTS_SIGN, CURRENCIES, DENOMINATORS_READ, NOT_FRACTIONS, PER, SCALES, UNITS


def _any(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


_ONLY_NEAR = "WVLlghm"  # units of one letter, which another word or number after them shows to be something else
_LONGER_UNIT = _any(unit for unit in UNITS if unit not in _ONLY_NEAR)
_UNIT = rf"(?:(?:{_LONGER_UNIT})(?![\w²³^])|[{_ONLY_NEAR}](?![\w'²³^]|\.(?!\s*\Z)| [A-Z0-9]))"
_CURRENCY = "|".join(  # "A$" is not the end of "CA$"
    ("(?<![A-Za-z])" if sign[0].isalpha() else "") + re.escape(sign)
    for sign in sorted(CURRENCIES, key=lambda sign: (-len(sign), sign))
)
_SCALE = _any(SCALES)
# "(?<!...)" before a number: it begins here. Trying a long number again at each of its digits would be quadratic.
_BEGINS = r"(?<![0-9])(?<![0-9][.,])"

_PHONE = re.compile(
    r"(?<![\w.,-])(?:(\+?)(\d{1,3})(?:[ -]|(?=\()))?(?:\((\d{3})\)[ -]?|(\d{3})(?:[- ]|(\.)(?=\d{3}\.)))?"
    r"(\d{3})(?(5)\.|-)(\d{4})(?:-(\d{1,5}))?(?![\w-]|\.\d)",
    re.ASCII,
)
# Other numbers that are dialled: +44 20 7946 0958, 0800 123456, 555 123 4567.
_DIALLED = re.compile(
    r"(?<![\w.,-])(?<!\d )(?:(\+)\d{1,3}[ -]\d{1,4}(?:[ -]\d{2,8}){1,4}|0\d{2,4}(?: \d{3,8}){1,3}|\d{3} \d{3} \d{4})"
    r"(?![\w-]|[.,]\d)",
    re.ASCII,
)
# Thousands grouped by apostrophes, or by spaces if more than one group, zeros or a currency show that they are.
_GROUPS = re.compile(
    r"(?<![\w.,])(?<!\d )[1-9](?:\d{0,2}(?:'\d{3})+|\d?(?: \d{3}){2,}|\d{0,2}(?: \d{3})* 000|"
    rf"\d{{0,2}} \d{{3}}(?=,\d\d?(?!\d)| ?(?:{_CURRENCY})))(?![\d']| \d)(,\d\d?(?!\d))?",
    re.ASCII,
)
_CODE = re.compile(r"(?<![\w.,-])(\d{3})-(\d{2})-(\d{4})(?![\w-]|\.\d)", re.ASCII)  # a social security number
_IP = re.compile(r"(?<![\w.,])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?!\w|\.\d)", re.ASCII)
_DECADES = re.compile(r"(?<=\d0s)[-–](?='?\d{2,4}s\b)", re.ASCII)
_VERSION = re.compile(rf"(?<![\w.,])(?!{GROUPED_BY_STOPS}(?!\.?[0-9]))[vV]?[0-9]+(?:\.[0-9]+){{2,}}")
_NAMED_VERSION = re.compile(
    r"\b(?:v|((?:version|release|python|java|android|ios) ))(\d{1,9})\.(\d{1,9})(?!\w|\.\d)", re.I | re.ASCII
)
_FEET = re.compile(
    r"(?<![\w.,])(\d{1,2})(?:' ?| ?ft\.? )(\d{1,2})(?:(?:\"|'')(?!\w)| ?in(?:ches)?(?!\w)(?:\.(?= [a-z0-9]))?)",
    re.ASCII,
)
# "5 h 2 m" and "5 m 2 s" may be lengths: minutes are "2m", "2min" or "2 min".
_DURATION = re.compile(
    r"(?<![\w.,])(?:(\d{1,3}) ?h ?(?=\d{1,2}(?: ?min|m)))?(\d{1,3})(?: ?min|m)(?: ?(\d{1,2}) ?s(?:ec)?)?(?!\w)",
    re.ASCII,
)
_NUMBERED = re.compile(r"(?:\b[Nn]os?\. ?|#)(?=\d)", re.ASCII)
_PAGES = re.compile(r"\b(pp?)\. ?(?=\d)", re.ASCII)
_ORDINAL = re.compile(rf"{_BEGINS}([0-9]+(?:,[0-9]{{3}})*)(?:st|nd|rd|th)(?![\w])", re.IGNORECASE | re.ASCII)
_DECADE = re.compile(r"(?<![\w.,$£€'])'?(\d\d\d0|[2-9]0)'?s\b", re.ASCII)
_FRACTION = re.compile(
    rf"(?P<sign>(?<![\w)\].,%°/:])[-−])?(?<![\w.,/:])(?:(\d{{1,4}})[ -])?(\d{{1,4}}) ?/ ?(\d{{1,4}})"
    rf"(?:(?:th|rd|nd|TH|RD)s?(?!\w))?(?![\d/]|[.,]\d)(?:[ -]?(?P<unit>{_UNIT})|(?!\w))",
    re.ASCII,
)
_RANGE = re.compile(
    rf"(?<![\w.,/:–-])(?P<sign>[$£€]?)(?P<low>{NUMBER})"
    rf"(?P<half> ?(?:{_UNIT}|(?:{_SCALE})(?= ?[-–] ?(?:[$£€]|[0-9.,]{{1,12}} ?(?:{_SCALE})\b))))?(?P<dash> ?– ?|-)"
    rf"(?=(?P<second>[$£€]?)(?P<high>{NUMBER})(?![\d/:–-]))",
    re.ASCII,
)
_MINUS = re.compile(r"(?<=[0-9]) ?[-−–] ?(?=[0-9.]{1,20} ?=)")
SIGNS = (
    (re.compile(r"(?<=[0-9)]) ?\* ?(?=[0-9(])"), " times "),
    (re.compile(r"(?<=[0-9])(?: x ?|x |(?<!\b0)x)(?=[0-9])"), " by "),  # but 0x1F
    (re.compile(r" ?>= ?(?=[0-9.$£€-])"), " at least "),
    (re.compile(r" ?<= ?(?=[0-9.$£€-])"), " at most "),
    (re.compile(r"(?<=\w) ?!= ?(?=\w)"), " is not equal to "),
    (re.compile(r"(?<=\w)(?: < |<)(?=[0-9])"), " is less than "),
    (re.compile(r"(?<=\w)(?: > |>)(?=[0-9])"), " is more than "),
    (re.compile(r"(?<![\w<])<(?=[0-9.$£€])"), "less than "),
    (re.compile(r"(?<![\w>=-])>(?=[0-9.$£€])"), "more than "),
    (re.compile(r"(?<=\w)\^2\b"), " squared "),
    (re.compile(r"(?<=\w)\^3\b"), " cubed "),
    (re.compile("~(?=[0-9.$£€])"), " about "),
    (re.compile(r"(?<=\w)\^(?=[0-9-])"), " to the power of "),
    (re.compile(r"(?<![^\s(])–(?=[0-9.$£€])"), "-"),
    (re.compile(r"(?<=°) (?=[CF]\b)"), ""),
    (re.compile(r"(?<=[0-9]) in\.(?= (?:long|wide|high|tall|deep|thick|by|of)\b)"), " inches"),
)
_QUANTITY = re.compile(
    rf"(?P<sign>(?<![\w)\].,%°])[-−+±])?(?:(?P<before>{_CURRENCY})(?:(?<=Rs)\.)? ?(?P<minus>-(?=[0-9.]))?(?=[0-9.]))?"
    rf"{_BEGINS}(?P<number>{NUMBER})"
    rf"(?: ?(?P<scale>(?i:{_any(s for s in SCALES if len(s) > 2)})|{_any(s for s in SCALES if len(s) < 3 and s != 'm')}"
    rf"|(?(before)m|(?!)))(?![\w²³^Ω]|/(?!(?:hour|minute|second|day|week|month|year|yr|mo|wk|night|person)\b)))?"
    rf"(?:(?P<gap>[ -]?)(?P<unit>(?:{_CURRENCY}|¢)(?!\w)|{_UNIT})(?:\.(?= [a-z]))?)?"
    rf"(?:/(?P<per>{_any(PER)})(?![\w/]))?",
    re.ASCII,
)
_SPELLED_SCALES = frozenset(("thousand", "million", "billion", "trillion"))


def expand_numbers(text: str) -> str:
    """Write every number of a text in words, with what belongs to it."""
    text = _PHONE.sub(_phone, text)
    text = _DIALLED.sub(_dialled, text)
    text = _GROUPS.sub(lambda match: re.sub("[ ']", "." if match[1] else ",", match[0]), text)
    text = _CODE.sub(lambda match: ", ".join(map(digit_by_digit, match.groups())), text)
    text = _IP.sub(_ip, text)
    text = _NAMED_VERSION.sub(
        lambda match: f"{match[1] or 'version '}{cardinal(match[2])} point {cardinal(match[3])}", text
    )
    text = _VERSION.sub(_version, text)
    text = _FEET.sub(r"\1 ft \2 inches", text)
    text = _DURATION.sub(_duration, text)
    text = _PAGES.sub(lambda match: "page " if match[1] == "p" else "pages ", _NUMBERED.sub(" number ", text))
    text = _DECADES.sub(" to ", text)
    text = _DECADE.sub(lambda match: decade(match[1]), text)
    text = _FRACTION.sub(_fraction, text)
    text = _ORDINAL.sub(lambda match: apart(match, ordinal(match[1].replace(",", ""))), text)
    text = _MINUS.sub(" minus ", text)
    text = _RANGE.sub(_range, text)
    for pattern, spoken in SIGNS:
        text = pattern.sub(spoken, text)
    return _QUANTITY.sub(_quantity, text)


def _phone(match: re.Match[str]) -> str:
    plus, *parts = match.groups()
    spoken = [digit_by_digit(part) for part in parts if part and part != "."]
    return ("plus " if plus else "") + ", ".join(spoken)


def _dialled(match: re.Match[str]) -> str:
    return ("plus " if match[1] else "") + ", ".join(map(digit_by_digit, re.findall("[0-9]+", match[0])))


def _ip(match: re.Match[str]) -> str:
    if any(int(part) > 255 for part in match.groups()) or max(map(len, match.groups())) == 1:
        return match[0]
    return " dot ".join(map(digit_by_digit, match.groups()))


def _version(match: re.Match[str]) -> str:
    prefix = "version " if match[0][0] in "vV" else ""
    return prefix + " point ".join(map(cardinal, match[0].lstrip("vV").split(".")))


def _duration(match: re.Match[str]) -> str:
    """Name the units of "1h 30m"; "30m" alone is a length."""
    if not (match[1] or match[3]):
        return match[0]
    return " ".join(
        f"{value} {unit}" for value, unit in zip(match.groups(), ("hr", "min", "sec"), strict=True) if value
    )


def _fraction(match: re.Match[str]) -> str:
    sign, whole, top, bottom, unit = match.groups()
    minus = "minus " if sign else ""
    if (int(top), int(bottom)) in NOT_FRACTIONS:
        return apart(match, NOT_FRACTIONS[int(top), int(bottom)])
    if int(bottom) not in DENOMINATORS_READ or "0" in (top[0], bottom[0]) or len(top) == LENGTH_OF_YEAR:
        return f"{minus}{'' if whole is None else cardinal(whole) + ' '}{year(top)} slash {year(bottom)}" + (
            f" {UNITS[unit][1]}" if unit else ""
        )
    spoken = fraction(top, bottom)
    if whole is not None:
        spoken = f"{cardinal(whole)} and {'a' + spoken[3:] if top == '1' else spoken}"
    return minus + spoken + (f" {UNITS[unit][whole is not None]}" if unit else "")


def _range(match: re.Match[str]) -> str:
    """Read "5-10" as "5 to 10" if it can be a range; a score or a code keeps its hyphen."""
    sign, half = match["sign"], match["half"] or ""
    low, high = parse_number(match["low"]), parse_number(match["high"])
    if low is None or high is None or max(len(low[0]), len(high[0])) > LONGEST_IN_RANGE:
        return match[0]
    zeros = any(len(digits) > 1 and digits[0] == "0" for digits in (low[0], high[0]))
    abbreviated = len(low[0]) == 4 and len(high[0]) == 2 and low[0][2:] < high[0]
    rises = float(f"{low[0] or 0}.{low[1] or 0}") < float(f"{high[0] or 0}.{high[1] or 0}")
    if (zeros or not (rises or abbreviated)) and not sign and "–" not in match["dash"]:
        return match[0]
    first = "" if sign and not match["second"] else sign
    return f"{first}{match['low']}{half} to {sign if not match['second'] else ''}"


LONGEST_IN_RANGE = 9  # digits
LENGTH_OF_YEAR = 4
LENGTH_BEFORE_K = 3  # digits of a number whose K can only be a thousand


def _quantity(match: re.Match[str]) -> str:
    number = match["number"]
    parsed = parse_number(number)
    if parsed is None:  # a list, such as 1,2,3
        return _with_sign(match, ", ".join(map(cardinal, number.replace(".", ",").split(","))) + _rest(match))
    whole, part = parsed
    scale, unit, before = match["scale"], match["unit"], match["before"]
    money = before or (unit if unit in CURRENCIES else None)
    if scale and not money and scale.lower() not in _SPELLED_SCALES and not _is_scale(match, scale):
        return _with_sign(
            match, f"{_plain(match, whole, part)} {match.string[match.end('number') : match.end()].strip()}"
        )
    if scale:
        spoken = f"{decimal(whole, part)} {SCALES.get(scale) or scale.lower()}"
        names = CURRENCIES[money] if money else None
        spoken += f" {names[1]}" if names else ""
    elif money:
        spoken = _money(whole, part, CURRENCIES[money])
    elif unit:
        spoken = decimal(whole, part)
    else:
        spoken = _plain(match, whole, part)
    is_one = (whole, part, scale) == ("1", "", None)
    if unit == "¢":
        spoken += f" {CENTS_SIGN[not is_one]}"
    elif unit and unit not in CURRENCIES:
        spoken += f" {UNITS[unit][not is_one and match['gap'] != '-']}"
    elif unit and before:  # "$5 USD"
        spoken += f" {unit}"
    if match["per"]:
        spoken += f" per {PER[match['per']]}"
    return _with_sign(match, spoken)


def _is_scale(match: re.Match[str], scale: str) -> bool:
    """True if a letter after a number without a currency is its scale: "10k", "1.5M users", but not "4K" or "3M"."""
    number = match["number"]
    before = match.string[match.start() - 1 : match.start()]
    attached = match.start("scale") == match.end("number") and not before.isalpha()
    if scale in ("k", "bn", "mn"):
        return attached
    if scale == "K":  # "400K", "2.5K", but not "10K run", "24K gold" or "i7-9700K"
        return attached and ("." in number or len(number) == LENGTH_BEFORE_K)
    return attached and scale in "MB" and ("." in number or match.string[match.end("scale") :][:2].strip().islower())


def _plain(match: re.Match[str], whole: str, part: str) -> str:
    is_year = len(whole) == 4 and not part and match["number"] == whole and not match["sign"] and whole[0] != "0"
    return year(whole) if is_year else decimal(whole, part, "," in match["number"])


def _rest(match: re.Match[str]) -> str:
    """The text after a number whose scale and unit were not used."""
    return match.string[match.end("number") : match.end()]


def _with_sign(match: re.Match[str], spoken: str) -> str:
    sign = {"-": "minus ", "−": "minus ", "+": "plus ", "±": "plus or minus "}.get(
        match["sign"] or match["minus"] or "", ""
    )
    return apart(match, sign + spoken)


def _money(whole: str, part: str, names: tuple[str, str, str, str]) -> str:
    """Read "3" and "20" as "three pounds twenty", dollars as "three dollars, twenty cents"."""
    one, many, cent, cents = names
    part = part.rstrip("0")
    if len(part) > 2 or (part and not cent):
        return f"{decimal(whole or '0', part)} {many}"
    whole, minor = whole.lstrip("0") or "0", int(part.ljust(2, "0") or "0")
    major = f"{cardinal(whole)} {one if whole == '1' else many}"
    if not minor:
        return major
    hundredths = f"{cardinal(str(minor))} {cent if minor == 1 else cents}"
    if whole == "0":
        return hundredths
    if one.endswith("dollar"):
        return f"{major}, {hundredths}"
    return f"{major} {cardinal(str(minor))}" if minor >= 10 else f"{major} {hundredths}"
