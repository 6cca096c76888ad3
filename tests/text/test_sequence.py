"""text_to_sequence and sequence_to_text: any symbol list, any input, a warning for everything dropped."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.text import NVIDIA_SYMBOLS, DroppedSymbolWarning, TextError, sequence_to_text, text_to_sequence
from tacoglow.text.cleaners import CLEANERS


def dropped(text: str, **options: Any) -> str:
    """Return the message of the one warning that `text` causes."""
    with pytest.warns(DroppedSymbolWarning) as caught:
        text_to_sequence(text, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return str(caught[0].message)


def test_no_warning_if_nothing_is_dropped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sequence_to_text(text_to_sequence("Hello, {HH AW1} Café!")) == "hello, {HH AW1} cafe!"


def test_one_warning_names_each_dropped_symbol_once() -> None:
    message = dropped('a_b ~ __ "q" 😀😀 \x00 \ud800 {XX HH XX}')
    for name in ["'_'", "'~'", "'\"'", "'😀'", r"'\x00'", r"'\ud800'", "phone 'XX'"]:
        assert message.count(name) == 1
    assert "more" not in message
    assert "\n" not in message


def test_warning_lists_at_most_ten_names() -> None:
    message = dropped("@#%^&*+=<>[]", cleaner_names=["basic_cleaners"])
    assert message.endswith("'<', '>' and 2 more")


def test_dropped_accents_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert text_to_sequence("cafe\u0301 \ufe0f\u200d") == text_to_sequence("cafe ")


def test_lines_dropped_after_braces_warn() -> None:
    assert "the lines after the first, 'lost'" in dropped("{HH}\nlost")


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["list"]])
def test_text_must_be_a_string(text: Any) -> None:
    with pytest.raises(TextError, match=r"text: expected a string, got \w+"):
        text_to_sequence(text)


@pytest.mark.parametrize("names", [["english"], "english_cleaners", None, [None], [["english_cleaners"]]])
def test_unknown_cleaners_are_rejected(names: Any) -> None:
    with pytest.raises(TextError, match="english_cleaners"):
        text_to_sequence("text", names)


@pytest.mark.parametrize("symbols", [[], None, ["a", "b", "a"], ["a", 1], ["a", []]])
def test_unusable_symbols_are_rejected(symbols: Any) -> None:
    with pytest.raises(TextError, match="symbols"):
        text_to_sequence("text", symbols=symbols)
    with pytest.raises(TextError, match="symbols"):
        sequence_to_text([0], symbols=symbols)


def test_braces_hold_long_symbols_if_the_list_has_no_arpabet() -> None:
    symbols = ["<pad>", "a", "ß", "tsch", " "]
    ids = text_to_sequence("ß {tsch} a", ["basic_cleaners"], symbols)
    assert ids == [2, 4, 3, 4, 1]
    assert sequence_to_text(ids, symbols) == "ß {tsch} a"


def test_braces_hold_only_phones_if_the_list_has_arpabet() -> None:
    assert "phone 'B'" in dropped("{B}", symbols=["_", "B", "@AA"])
    assert text_to_sequence("{B}", symbols=["_", "B", "@"]) == [1]  # a lone @ is not a phone


def test_ids_outside_the_list_are_skipped() -> None:
    assert sequence_to_text([-1, 38, 148, 10**30]) == "a"
    with pytest.raises(TextError, match="ids: expected integers, got str 'x'"):
        sequence_to_text(["x"])  # type: ignore[list-item]


@given(st.text() | st.text(alphabet="0123456789$£.,{}_~ \nstndrhMAH1\ud800"), st.sampled_from(list(CLEANERS)))
def test_any_text_gives_valid_ids(text: str, cleaner: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)
        ids = text_to_sequence(text, [cleaner])
    assert all(1 <= position < len(NVIDIA_SYMBOLS) for position in ids)


@pytest.mark.parametrize("unit", ["1", "1,", "1.", "$1", "{A}", "{", "{}", "1st", ",", ".", "st.", " "])
def test_text_to_sequence_takes_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit)) + "x"
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)
        text_to_sequence(text)
    assert time.monotonic() - start < 5  # linear code takes a tenth of that


def test_numbers_are_thread_safe() -> None:
    texts = [f"{number} and the {number}th" for number in range(100_000, 101_000)]
    alone = [text_to_sequence(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text_to_sequence, reversed(texts))) == alone[::-1]
