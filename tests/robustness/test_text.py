"""Any text and any symbol list give ids within the list, or a one-line error."""

from __future__ import annotations

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from tacoglow.tests.robustness.conftest import Tried
from tacoglow.text import NVIDIA_SYMBOLS, FrontEnd, TextError, sequence_to_text, text_to_sequence
from tacoglow.text.cleaners import CLEANERS

CASES = 400
# Includes surrogates, which a command line or a damaged file may contain.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
TRICKY_TEXT = st.text(st.sampled_from("aZ 019$£€.,:;?!{}@_~-'\n\tüß中\u202e\ud800"), max_size=80)
PIPELINES = st.lists(st.sampled_from(sorted(CLEANERS)), max_size=3)


@settings(max_examples=CASES, deadline=None)
@given(text=ANY_TEXT | TRICKY_TEXT, cleaners=PIPELINES)
def test_any_text_is_encoded_or_rejected(tried: Tried, text: str, cleaners: list[str]) -> None:
    tried("texts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = text_to_sequence(text, cleaners)
        assert all(0 <= number < len(NVIDIA_SYMBOLS) for number in ids)
        assert isinstance(sequence_to_text(ids), str)
        front_end, message, encoded = FrontEnd(cleaners=tuple(cleaners)), "", []
        try:
            encoded = front_end.encode(text)
        except TextError as error:
            message = str(error)
    assert bool(encoded) != bool(message)
    assert "\n" not in message
    assert front_end.count_tokens(text) == len(encoded)


@settings(max_examples=CASES, deadline=None)
@given(symbols=st.lists(st.text(max_size=3), max_size=12), text=ANY_TEXT | TRICKY_TEXT)
def test_any_symbol_list_is_used_or_rejected(tried: Tried, symbols: list[str], text: str) -> None:
    tried("symbol lists")
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ids = text_to_sequence(text, ["basic_cleaners"], symbols)
            assert all(0 <= number < len(symbols) for number in ids)
        except TextError as error:
            message = str(error)
    assert "\n" not in message
    assert bool(message) == (not symbols or len(set(symbols)) < len(symbols))
