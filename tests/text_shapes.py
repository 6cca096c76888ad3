"""Texts by what they repeat: whatever touches text must take time in proportion to it, in Python and in C++."""

from __future__ import annotations

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
