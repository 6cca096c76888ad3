"""Digits in words: whole numbers, decimals, years, ordinals, fractions, and digit by digit.

A number is read by itself, unlike in `text/numbers.py`, which keeps the oddities of the published voices' texts.
"""

from __future__ import annotations

import re

from ..numbers import LONGEST_NUMBER, in_words, significant
from .tables import DENOMINATORS

# A number as it is written: 1,234 and 1.234,5 and 22,1 and .5. It matches from its first digit on, without fail.
GROUPED_BY_STOPS = r"[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}"
NUMBER = rf"(?:[0-9]{{1,3}}(?:\.[0-9]{{3}})+,[0-9]+|{GROUPED_BY_STOPS}|[0-9]+(?:,[0-9]+)*(?:\.[0-9]+)?|\.[0-9]+)"
LONGEST_NAMED = 15  # digits: nobody follows the name of a longer number
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}")


def parse_number(number: str) -> tuple[str, str] | None:
    """The digits before and after the decimal mark of a written NUMBER; None: it is a list, such as 1,2,3.

    A comma groups thousands if three digits follow it, and is a decimal comma otherwise. So do two full stops and more.
    """
    if number.count(".") > 1 and "," not in number:
        return number.replace(".", ""), ""
    if 0 < number.find(".") < number.find(",") and number.count(",") == 1:  # as in most of Europe
        whole, _, fraction = number.replace(".", "").partition(",")
        return whole, fraction
    whole, _, fraction = number.partition(".")
    if "," not in whole:
        return whole, fraction
    if _GROUPED.fullmatch(whole):
        return whole.replace(",", ""), fraction
    before, _, after = whole.partition(",")
    return None if "," in after or fraction else (before, after)


def cardinal(digits: str, is_grouped: bool = False) -> str:
    """A whole number of any length; one with leading zeros, or too long for a name, is read digit by digit."""
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > (LONGEST_NUMBER if is_grouped else LONGEST_NAMED):
        return digit_by_digit(digits)
    return in_words(digits, andword="").replace(",", "")


def decimal(whole: str, fraction: str, is_grouped: bool = False) -> str:
    """Read "3" and "05" as "three point zero five"; without a fraction, as a whole number."""
    if not fraction:
        return cardinal(whole, is_grouped)
    before = f"{cardinal(whole, is_grouped)} " if whole else ""
    return f"{before}point {digit_by_digit(fraction)}"


def digit_by_digit(digits: str) -> str:
    return " ".join(map(in_words, digits))


def ordinal(digits: str) -> str:
    """Read "21" as "twenty-first"."""
    digits = significant(digits)
    if len(digits) > LONGEST_NUMBER:
        return f"{digit_by_digit(digits[:-1])} {ordinal(digits[-1])}"
    return in_words(digits + "th", andword="").replace(",", "")


def year(digits: str) -> str:
    """Read "1905" as "nineteen oh five", "2026" as "twenty twenty-six", "2005" as "two thousand five"."""
    number = int(digits)
    century, rest = divmod(number, 100)
    if not 1000 < number < 3000 or (number % 1000 < 10 and number >= 2000) or number % 1000 == 0:
        return cardinal(digits)
    if rest == 0:
        return f"{in_words(str(century))} hundred"
    return in_words(digits, andword="", zero="oh", group=2).replace(", ", " ")


def decade(digits: str) -> str:
    """Read "1980" and "80" as "nineteen eighties" and "eighties"."""
    spoken = year(digits) if len(digits) == 4 else in_words(digits)
    return spoken[:-1] + "ies" if spoken.endswith("y") else spoken + ("es" if spoken.endswith("x") else "s")


def fraction(numerator: str, denominator: str) -> str:
    """Read "3" and "4" as "three quarters"."""
    top, bottom = int(numerator), int(denominator)
    one, many = DENOMINATORS.get(bottom) or (ordinal(denominator), ordinal(denominator) + "s")
    return f"{cardinal(str(top))} {one if top == 1 else many}"


def apart(match: re.Match[str], spoken: str) -> str:
    """Keep words apart from the letters beside what they replace, as in "B2B"."""
    before = match.string[match.start() - 1 : match.start()].isalnum()
    after = match.string[match.end() : match.end() + 1].isalnum()
    return " " * before + spoken + " " * after
