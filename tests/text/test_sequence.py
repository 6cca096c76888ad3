"""text_to_sequence and sequence_to_text: any symbol list, any input, nothing dropped in silence."""

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
    """The one warning that `text` causes."""
    with pytest.warns(DroppedSymbolWarning) as caught:
        text_to_sequence(text, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return str(caught[0].message)


def test_nothing_dropped_is_nothing_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sequence_to_text(text_to_sequence("Hello, {HH AW1} Café!")) == "hello, {HH AW1} cafe!"


def test_one_warning_names_each_lost_symbol_once() -> None:
    message = dropped('a_b ~ __ "q" 😀😀 \x00 \ud800 {XX HH XX}')
    for name in ["'_'", "'~'", "'\"'", "'😀'", r"'\x00'", r"'\ud800'", "phone 'XX'"]:
        assert message.count(name) == 1
    assert "more" not in message
    assert "\n" not in message


def test_at_most_ten_names() -> None:
    message = dropped("@#%^&*+=<>[]", cleaner_names=["basic_cleaners"])
    assert message.endswith("'<', '>' and 2 more")


def test_accents_are_no_loss() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert text_to_sequence("cafe\u0301 \ufe0f\u200d") == text_to_sequence("cafe ")


def test_lines_after_braces_are_lost_aloud() -> None:
    assert "the lines after the first, 'lost'" in dropped("{HH}\nlost")


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["list"]])
def test_only_strings_are_text(text: Any) -> None:
    with pytest.raises(TextError, match=r"text: expected a string, got \w+"):
        text_to_sequence(text)


@pytest.mark.parametrize("names", [["english"], "english_cleaners", None, [None], [["english_cleaners"]]])
def test_unknown_cleaners(names: Any) -> None:
    with pytest.raises(TextError, match="english_cleaners"):
        text_to_sequence("text", names)


@pytest.mark.parametrize("symbols", [[], None, ["a", "b", "a"], ["a", 1], ["a", []]])
def test_unusable_symbols(symbols: Any) -> None:
    with pytest.raises(TextError, match="symbols"):
        text_to_sequence("text", symbols=symbols)
    with pytest.raises(TextError, match="symbols"):
        sequence_to_text([0], symbols=symbols)


def test_a_list_without_arpabet_has_its_own_symbols_in_braces() -> None:
    symbols = ["<pad>", "a", "ß", "tsch", " "]
    ids = text_to_sequence("ß {tsch} a", ["basic_cleaners"], symbols)
    assert ids == [2, 4, 3, 4, 1]
    assert sequence_to_text(ids, symbols) == "ß {tsch} a"


def test_a_list_with_arpabet_keeps_braces_for_it() -> None:
    assert "phone 'B'" in dropped("{B}", symbols=["_", "B", "@AA"])
    assert text_to_sequence("{B}", symbols=["_", "B", "@"]) == [1]  # a lone @ is no phone


def test_ids_outside_the_list_are_left_out() -> None:
    assert sequence_to_text([-1, 38, 148, 10**30]) == "a"
    with pytest.raises(TextError, match="ids: expected integers, got str 'x'"):
        sequence_to_text(["x"])  # type: ignore[list-item]


@given(st.text() | st.text(alphabet="0123456789$£.,{}_~ \nstndrhMAH1\ud800"), st.sampled_from(list(CLEANERS)))
def test_any_text_gives_ids_of_symbols(text: str, cleaner: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)
        ids = text_to_sequence(text, [cleaner])
    assert all(1 <= position < len(NVIDIA_SYMBOLS) for position in ids)


@pytest.mark.parametrize("unit", ["1", "1,", "1.", "$1", "{A}", "{", "{}", "1st", ",", ".", "st.", " "])
def test_time_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit)) + "x"
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)
        text_to_sequence(text)
    assert time.monotonic() - start < 5  # linear code needs a tenth of that


def test_threads_do_not_mix_up_numbers() -> None:
    texts = [f"{number} and the {number}th" for number in range(100_000, 101_000)]
    alone = [text_to_sequence(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(text_to_sequence, reversed(texts))) == alone[::-1]
