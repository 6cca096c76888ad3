"""Generated texts for comparing the front ends of Python and C++: numbers, amounts, titles, phones, other scripts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from string import ascii_letters

WORDS = "the a cat sat Mr. Mrs. Dr. St. Co. No. Nos. e.g. a.m. p.m. U.S. Inc. etc. said Ltd. STREET über naïve".split()
LETTERS = ascii_letters + " "
NUMBERS = ["0", "7", "12", "100", "1000", "1,234", "1,000,000", "1905", "2000", "2007", "2010", "2999", "3000", "12345"]
MARKS = [".", "!", "?", "…", ",", ";", ":", "—", "–", "--", "-", "...", "?!", ")", "(", '"', "'", "”", "’", "»", "]"]
PHONES = ["{HH AW1 S}", "{AH0}", "{}", "{x", "y}", "{HH  AW1}", "{ZZ9 T}", "{}x}"]
UNUSUAL = (
    "ß£€¥½²™ΑΣς İıſKﬁéñøåЖя中文字。！？「」『』，、；：한글ไทยहिन्दी🎉😀\u200b\u0301\u00a0\u2003\u2028\x1c\x85\t\n\r"
    "\U0001d400\U000e0041\U0001f1e9٣४_~@#%&*+=<>/\\|^`"
)


def generated_texts(count: int, seed: int) -> Iterator[str]:
    """Yield texts without NUL; the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield "".join(_part(draw) for _ in range(draw.choice((1, 1, 2, 3, 5, 12))))


def _part(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.35:
        return draw.choice(WORDS) + draw.choice(("", " ", " ", "  "))
    if kind < 0.50:
        return _number(draw) + draw.choice(("", " ", " ", ". ", ","))
    if kind < 0.65:
        return draw.choice(MARKS) + draw.choice(("", " "))
    if kind < 0.72:
        return draw.choice(PHONES) + draw.choice(("", " "))
    if kind < 0.85:
        return "".join(draw.choice(UNUSUAL) for _ in range(draw.randint(1, 4)))
    if kind < 0.9:
        first, last = draw.choice(((1, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0x10FFFF)))
        return chr(draw.randint(first, last))
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 9)))


def _number(draw: random.Random) -> str:
    digits = "".join(draw.choice("0123456789") for _ in range(draw.choice((1, 2, 3, 4, 4, 5, 7, 12, 36, 37, 50))))
    number = draw.choice((draw.choice(NUMBERS), digits, f"{digits[:3]}.{digits[-2:]}", f"{digits},{digits[:3]}"))
    prefix = draw.choice(("", "", "", "$", "£", "$.", "$,"))
    return prefix + number + draw.choice(("", "", "", "st", "nd", "rd", "th", "TH", "%", ".5.", ",,1"))
