"""Lexicons: words and how they are spoken, in every case and form, the longest entry first, and within bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.text import FrontEnd, Lexicon, TextError, parse_lexicon, text_to_sequence

LEXICON = Lexicon(
    {
        "Nguyen": "win",
        "New York": "noo york",
        "New York Times": "the times",
        "tomato": "{T AH0 M AA1 T OW2}",
        "cat": "{K AE1 T}",
        "fish": "{F IH1 SH}",
        "US": "U S",
        "fox": "focks",
        "C++": "see plus plus",
        "naïve": "nigh eve",
        "dr.": "drive",
        "API": "A P I",
        "city": "sitty",
        "%": "Prozent",
        "§": "{S}",
    }
)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Mr. Nguyen left.", "Mr. win left."),
        ("NGUYEN, nguyen!", "win, win!"),
        ("Nguyen's and Nguyen’s", "win's and win's"),
        ("two Nguyens, the Nguyens' house", "two wins, the wins house"),
        ("foxes", "fockses"),
        ("Tomatoes and tomato's", "{T AH0 M AA1 T OW2 Z} and {T AH0 M AA1 T OW2 Z}"),
        ("cats", "{K AE1 T S}"),
        ("fishes", "{F IH1 SH IH0 Z}"),
        ("the US, not us", "the U S, not us"),
        ("New  York\nTimes in new york.", "the times in noo york."),
        ("Newark, Yorkshire, catalog, concat, fox_x", "Newark, Yorkshire, catalog, concat, fox_x"),
        ("{F AA1 K S} fox", "{F AA1 K S} focks"),
        ("I know C++.", "I know see plus plus."),
        ("nai\u0308ve", "nigh eve"),
        ("Elm Dr. 5", "Elm drive 5"),
        ("two APIs", "two A P I's"),
        ("cities", "sittys"),
        ("50% of 5 %x", "50 Prozent of 5 Prozent x"),
        ("a§b, }", "a {S} b, }"),
    ],
)
def test_words_are_replaced(text: str, spoken: str) -> None:
    assert LEXICON.apply(text) == spoken


def test_an_exact_spelling_wins() -> None:
    lexicon = Lexicon({"polish": "shine", "Polish": "poh lish"})
    assert lexicon.apply("Polish polish") == "poh lish shine"


def test_a_copy_shares_the_entries_and_nothing_else() -> None:
    lexicon = Lexicon({"Nguyen": "win"})
    copied = lexicon.copy()
    assert copied.apply("Nguyen") == "win"
    assert copied.entries is lexicon.entries
    assert set(vars(lexicon)) == {"entries"}  # what the copy made to speak a text is its own


def test_front_end_applies_it_to_ids_and_keeps_the_written_words() -> None:
    front_end = FrontEnd(lexicon=LEXICON)
    assert front_end.encode("Mr. Nguyen ate.") == text_to_sequence("Mr. win ate.")
    assert [word.text for word in front_end.words("Mr. Nguyen ate.")] == ["Mr.", "Nguyen", "ate."]
    assert front_end.words("Mr. Nguyen ate.")[1].stop - front_end.words("Mr. Nguyen ate.")[1].first >= len("win")


def test_a_file_has_one_entry_per_line() -> None:
    assert parse_lexicon("# names\n\nNguyen = win\nE=mc = {IY1} = {EH1 M}\n") == {
        "Nguyen": "win",
        "E": "mc = {IY1} = {EH1 M}",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Nguyen win", "names.txt: line 1: expected 'word = spoken', got 'Nguyen win'"),
        ("\n= win", "names.txt: line 2: expected 'word = spoken'"),
        ("a = b\na = c", "names.txt: line 2: 'a' has an entry already"),
        ("a = " + "b" * 201, "names.txt: lexicon: 'a': expected at most 200 characters, got 201"),
    ],
)
def test_a_bad_line_is_named(content: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_lexicon(content, "names.txt")
    assert str(caught.value).startswith(message)


def test_bounds() -> None:
    with pytest.raises(TextError, match="at most 10000 entries"):
        Lexicon({f"w{i}": "x" for i in range(10_001)})
    with pytest.raises(TextError, match="makes 2000000 characters of a text of 20000"):
        Lexicon({"a": "b" * 199}).apply("a " * 10_000)
    with pytest.raises(TextError, match="'a': expected some text, got 5"):
        Lexicon({"a": 5})  # type: ignore[dict-item]


@given(st.text(), st.dictionaries(st.text("abc '.", min_size=1, max_size=6).filter(str.strip), st.just("z")))
def test_any_text_is_accepted(text: str, entries: dict[str, str]) -> None:
    assert isinstance(Lexicon(entries).apply(text), str)
    if not entries:
        assert Lexicon(entries).apply(text) == text


@pytest.mark.parametrize("shape", ["a ", "a", "new ", "new york ", "{", "'", "’s", "é"])
def test_time_is_linear(shape: str) -> None:
    lexicon = Lexicon({"new york " * 9 + "x": "y", "a " * 49 + "b": "y", "new": "n"})

    def seconds(length: int) -> float:
        text, start = shape * (length // len(shape)), time.process_time()
        lexicon.apply(text)
        return time.process_time() - start

    assert any(seconds(40_000) < 24 * max(seconds(5_000), 1e-3) for _ in range(5))


def test_phones_that_the_voice_was_never_trained_on_are_told() -> None:
    remarks = FrontEnd(untrained=frozenset({"@HH", "@AH0", "("})).read("{HH AH0 S} (there)").remarks
    assert remarks == ("this voice was never trained on the phone 'AH0', phone 'HH'; write a respelling instead",)
    assert FrontEnd(untrained=frozenset({"@HH"})).read("{S} there").remarks == ()


def test_the_order_of_entries_does_not_matter() -> None:
    entries = {"Ab": "first", "aB": "second", "can’t": "cannot", "can't": "can not"}
    turned = dict(reversed(entries.items()))
    assert Lexicon(entries) == Lexicon(turned)
    assert Lexicon(entries).apply("ab AB can't") == Lexicon(turned).apply("ab AB can't")
