"""Texts by what they repeat: whatever touches text must take time in proportion to it, in Python and in C++."""

from __future__ import annotations

from collections.abc import Callable

# Eight times the text takes less than this times the time. Quadratic code comes to 64 as the text grows, and what is
# linear has been seen at 12.
RATIO = 16

SHAPES = [
    *(
        "word",
        "word ",
        "A sentence. ",
        "so, ",
        ".)",
        ".",
        ". ",
        "{A}",
        "{",
        "}",
        "a. ",
        "\n",
        "a\n",
        " ",
        "(",
        "“",
        '"',
    ),
    *("1", "1,", "1.", "1:", "1/", "1-", "$", "$1", "1 ", "1k", "1kg", "1 kg ", "(1", "5'", "-", "1–", "½", "1½", "1x"),
    *("a@", "a@b.", "www.", "http://", "a.com", "a.com/", "1.1.1.", "v1.", "+1 ", "(123) ", "123-", "é", "€", "😀"),
    *(
        "{a}b. ",
        "{. }",
        "{. ",
        "}{",
        "{a",
        "{a} ",
        '.)" ',
        ")",
        "]",
        "’",
        "».",
        "(\n",
        "a.a",
        "a.a. ",
        "Dr. ",
        "Mr. a. ",
    ),
    *(
        "。",
        "。」",
        "[pause 0.1s] ",
        "[pause",
        "--",
        "– ",
        "don't ",
        "'s ",
        "a\n\n",
        "\r\n",
        "\u2029",
        "A",
        "AB ",
        "1st ",
        "&",
    ),
    *("Jan ", "Jan. 1 ", "1 Jan ", "2020-01-", "5 p.m. ", "p.m.", "12:34 ", "12:34:", "St. ", "No. ", "U.S. ", "e.g."),
]


def takes_linear_time(seconds: Callable[[str], float], shape: str) -> bool:
    """True if a function that takes `seconds` of the processor for a text takes linear time over this shape's.

    The machine may be twice as fast in one moment as in the next, so that the short text is taken before and after the
    long one. What is slow by chance is not so each time.
    """
    short, long = (shape * (length // len(shape)) for length in (2_000, 16_000))
    for _ in range(10):
        before, took, after = seconds(short), seconds(long), seconds(short)
        if took < RATIO * max(min(before, after), 1e-3):
            return True
    return False
