"""Everything that touches text takes linear time: eight times the text takes about eight times as long."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import pytest

from tacoglow.text import FrontEnd, TextError, split_text
from tacoglow.text.cleaners import english_cleaners, english_cleaners_extended

LENGTH = 2_000  # characters, and eight times as many
RATIO = 24  # quadratic code reaches 64
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
    *("Jan ", "Jan. 1 ", "1 Jan ", "2020-01-", "5 p.m. ", "p.m.", "12:34 ", "12:34:", "St. ", "No. ", "U.S. ", "e.g."),
]


def encode(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            FrontEnd(cleaners=("basic_cleaners",)).encode(text)
        except TextError:
            return


def split(text: str) -> None:
    split_text(text + "x", 100, len)


def seconds(function: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    function(text)
    return time.process_time() - start


@pytest.mark.parametrize("function", [english_cleaners, english_cleaners_extended, encode, split])
@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(function: Callable[[str], object], shape: str) -> None:
    short, long = (shape * (length // len(shape)) for length in (LENGTH, 8 * LENGTH))
    ratios = (seconds(function, long) / max(seconds(function, short), 1e-3) for _ in range(5))
    assert any(ratio < RATIO for ratio in ratios)
