"""Any text and any symbol list: ids within the list, or one clear line."""

from __future__ import annotations

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.tests.robustness.conftest import Tried
from tacoglow.text import NVIDIA_SYMBOLS, FrontEnd, TextError, sequence_to_text, text_to_sequence
from tacoglow.text.cleaners import CLEANERS

CASES = 400
# Surrogates and all: what a command line or a damaged file may hand over.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
WRITTEN = st.text(st.sampled_from("aZ 019$£€.,:;?!{}@_~-'\n\tüß中\u202e\ud800"), max_size=80)
PIPELINES = st.lists(st.sampled_from(sorted(CLEANERS)), max_size=3)


@settings(max_examples=CASES, deadline=None)
@given(text=ANY_TEXT | WRITTEN, cleaners=PIPELINES)
def test_texts(tried: Tried, text: str, cleaners: list[str]) -> None:
    tried("texts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = text_to_sequence(text, cleaners)
        assert all(0 <= number < len(NVIDIA_SYMBOLS) for number in ids)
        assert isinstance(sequence_to_text(ids), str)
        front_end, refusal, spoken = FrontEnd(cleaners=tuple(cleaners)), "", []
        try:
            spoken = front_end.encode(text)
        except TextError as error:
            refusal = str(error)
    assert bool(spoken) != bool(refusal)
    assert "\n" not in refusal
    assert front_end.count_tokens(text) == len(spoken)


@settings(max_examples=CASES, deadline=None)
@given(symbols=st.lists(st.text(max_size=3), max_size=12), text=ANY_TEXT | WRITTEN)
def test_symbol_lists(tried: Tried, symbols: list[str], text: str) -> None:
    tried("symbol lists")
    refusal = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ids = text_to_sequence(text, ["basic_cleaners"], symbols)
            assert all(0 <= number < len(symbols) for number in ids)
        except TextError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert bool(refusal) == (not symbols or len(set(symbols)) < len(symbols))
