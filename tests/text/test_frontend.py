"""FrontEnd: a voice's symbols and cleaners, validated once."""

from __future__ import annotations

import warnings
from typing import Any
from unicodedata import normalize

import pytest

from tacoglow.text import FrontEnd, TextError, describe_dropped, text_to_sequence


def test_line_breaks_do_not_lose_text() -> None:
    assert FrontEnd().encode(" {HH\nAW1}\n\nMr.\tX ") == text_to_sequence("{HH AW1} Mr. X")


@pytest.mark.parametrize("text", ["", " \n\t ", "😀", "😀 😀", '"', "_", "{XX}", "{ }", "\x00 \x00", None, 7])
def test_unspeakable_text_is_a_one_line_error(text: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TextError) as caught:
            FrontEnd().encode(text)
    assert str(caught.value).startswith("text: ")
    assert "\n" not in str(caught.value)


def test_error_names_characters_without_symbol() -> None:
    with pytest.raises(TextError, match="no symbol for: '😀'; give"):
        FrontEnd().encode("😀 😀")
    with pytest.raises(TextError, match="the text is empty"):
        FrontEnd().encode(" ")


def test_what_is_dropped_is_data() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids, dropped, _ = FrontEnd().read("Hello 😀 {XX HH}\n😀.")
        assert FrontEnd().encode("Hello 😀 {XX HH}\n😀.") == ids
    assert dropped == ("😀", "{XX}")
    assert describe_dropped(dropped) == "not spoken, this voice has no symbol for: '😀', phone 'XX'"
    assert describe_dropped(()) == ""


def test_constructor_validates_and_makes_immutable() -> None:
    voice = FrontEnd(symbols=["_", "a"], cleaners=["basic_cleaners"])  # type: ignore[arg-type]
    assert voice == FrontEnd(("_", "a"), ("basic_cleaners",))
    assert len({voice, FrontEnd(("_", "a"), ("basic_cleaners",))}) == 1
    with pytest.raises(TextError, match="unknown cleaner 'french'"):
        FrontEnd(cleaners=("french",))
    with pytest.raises(TextError, match=r"symbols\[1\]: 'a' is already symbols\[0\]"):
        FrontEnd(symbols=("a", "a"))


def test_count_tokens_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FrontEnd().count_tokens("5 😀!") == len("five !")
        assert FrontEnd().count_tokens("😀 😀") == 0
        assert FrontEnd().count_tokens("") == 0


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Timer done", "Timer done."),
        ("Room 12", "Room 12."),
        ('He said "no"', 'He said "no".'),  # the voice has no quotes
        ("Hi ☃", "Hi."),
        ("{HH AY1}", "{HH AY1}."),
        ("Done!", "Done!"),
        ("Ready,", "Ready,"),
        ("(so)", "(so)"),
    ],
)
def test_final_mark(text: str, spoken: str) -> None:
    marked = FrontEnd(final_mark=".")
    assert marked.lookup(text) == FrontEnd().lookup(spoken)
    assert marked.words(text) == FrontEnd().words(text)


GERMAN = FrontEnd((*"_-'!(),.:; abcdefghijklmnopqrstuvwxyzäöüß",), ("basic_cleaners",))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Schöne Grüße", "schöne grüße"),
        ("ÄRGER ÜBER ÖL", "ärger über öl"),
        ("Café, naïve", "cafe, naive"),
        ("ﬁne ﬂow, oﬃce", "fine flow, office"),
        ("it’s ‘so’ ‚da‛ ‹na›", "it's 'so' 'da' 'na'"),
        ("a–b—c―d−e", "a-b--c--d-e"),
        ("so…", "so..."),
        ("Œuvre æther Łódź", "oeuvre aether lodz"),
    ],
)
def test_equivalents_of_characters_without_symbol(text: str, spoken: str) -> None:
    """idiap/coqui-ai-TTS#63, coqui-ai/TTS#3364: decomposed accents, ligatures, typographic quotes and dashes."""
    expected = [GERMAN.symbols.index(character) for character in spoken]
    assert GERMAN.read(text) == (expected, (), ())
    assert GERMAN.encode(normalize("NFD", text)) == expected


def test_capitals_have_equivalents_too() -> None:
    front_end = FrontEnd(("_", "'", *"?, abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), ())
    assert "".join(front_end.symbols[i] for i in front_end.encode("Ærø, Østen, Łódź؟")) == "Aero, Osten, Lodz?"


def test_final_mark_is_a_symbol() -> None:
    with pytest.raises(TextError, match="final mark: '。' is not among the voice's symbols"):
        FrontEnd(final_mark="。")
    assert FrontEnd(final_mark=".").lookup("☃") == []
    assert text_to_sequence("Done") == FrontEnd().lookup("Done")  # NVIDIA's function adds nothing


def test_letters() -> None:
    voice = FrontEnd()
    assert voice.letters(voice.lookup("A {HH} 1-b.")) == [True, False, True, False, *[True] * 3, False, True, False]


@pytest.mark.parametrize(
    ("front_end", "one", "three"),
    [
        (FrontEnd(), "A", "ABC"),
        (FrontEnd(("_", " ", "ы", "э", "ю"), ("basic_cleaners",)), "ы", "ыэю"),
        (FrontEnd(("_", "A", "b", "c"), ("basic_cleaners",)), "b", "bc"),  # basic_cleaners lower the A
        (FrontEnd(("_", ".", "@AA", "@B", "@CH", "@D"), ("basic_cleaners",)), "{AA}", "{AA B CH}"),
        (FrontEnd(("_", "ch", "h"), ("basic_cleaners",)), "{ch}", "{ch}h"),
        (FrontEnd(("@AA", "@B", "@D"), ("basic_cleaners",), untrained=frozenset({"@AA"})), "{B}", "{B D AA}"),
        (FrontEnd(("_", "!"), ("basic_cleaners",)), "", ""),
    ],
)
def test_a_sample_is_a_text_of_the_voices_own_letters(front_end: FrontEnd, one: str, three: str) -> None:
    assert (front_end.sample(1), front_end.sample(3)) == (one, three)
