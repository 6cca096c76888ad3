"""Everything that touches text takes linear time: eight times the text takes about eight times as long."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tacoglow.runtime.pieces import split_into_pieces
from tacoglow.text import FrontEnd, Lexicon, TextError, split_text
from tacoglow.text.cleaners import english_cleaners, english_cleaners_extended

from ..text_shapes import SHAPES, takes_linear_time

LEXICON = Lexicon({"a": "b", "word": "deed", ". ": "dot", "A" * 50: "x", " ".join("1" * 20) + " 2": "x"})


def encode(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            FrontEnd(cleaners=("basic_cleaners",)).encode(text)
        except TextError:
            return


def split(text: str) -> None:
    split_text(text + "x", 100, len)


def pieces(text: str) -> None:
    with suppress(TextError):
        split_into_pieces(FrontEnd(cleaners=("basic_cleaners",)), text + "x", 100)


def lexicon(text: str) -> None:
    LEXICON.apply(text)


def seconds(function: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    function(text)
    return time.process_time() - start


@pytest.mark.parametrize("function", [english_cleaners, english_cleaners_extended, encode, split, pieces, lexicon])
@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(function: Callable[[str], object], shape: str) -> None:
    assert takes_linear_time(partial(seconds, function), shape)
