"""split_text: sentences, then clauses, words and characters; no text is lost and no piece is too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.runtime.pieces import split_into_pieces
from tacoglow.text import FrontEnd, TextError, split_text
from tacoglow.text.lines import LineJoiner, collapse_lines

SENTENCES = [
    ["One.", "Two!", "Three?", "Four"],
    ["He said “Go!”", "(Really.)", "Yes."],
    ['"Stop!" he said.', "Well... perhaps.", "stop!", "and go."],
    ["Mr. Smith met Dr. Jones, e.g. on St. James St. near J. F. K. Airport.", "Then he left."],
    ["It was 3.5 or $1.50.", "Next."],
    ["No. 5 is alive.", "No.", "I am."],
    ["At 5 p.m. we met Smith & Co. in town.", "At 6 p.m.", "They left."],
    ["J. P. Morgan met Samuel P. Huntington, see p. 5.", "Min. 2 people.", "Rs. 500 (c. 1900) too."],
    ["Acme Inc. (formerly Beta) and Smith et al. [5] grew 5 ft. (1.5 m).", "It left at 5 p.m.", "(It was tired.)"],
    ["Say {HH. AW1? S} now.", "Bye {B. AY1}."],
    ["Unclosed {brace.", "Here."],
]


@pytest.mark.parametrize("pieces", SENTENCES)
def test_one_piece_per_sentence(pieces: list[str]) -> None:
    assert split_text(" ".join(pieces), 1000, len) == pieces
    assert split_text("\n\t".join(pieces), 1000, len) == pieces


def test_full_width_marks_end_sentences_without_a_space() -> None:
    assert split_text("你好。再见！「好！」x", 1000, len) == ["你好。", "再见！", "「好！」", "x"]


def test_long_sentence_is_cut_at_clauses_then_words_then_characters() -> None:
    text = "one, two, three: four five six seven eight ninetyninetyninety"
    assert split_text(text, 12, len) == [
        "one, two,",
        "three:",
        "four five",
        "six seven",
        "eight",
        "ninetyninety",
        "ninety",
    ]
    assert split_text("alpha—beta -- gamma (delta) end", 11, len) == [
        "alpha—",
        "beta --",
        "gamma",
        "(delta)",
        "end",
    ]


def test_an_abbreviation_is_not_a_clause() -> None:
    assert split_text("Dr. Smith paid five dollars.", 16, len) == ["Dr. Smith paid", "five dollars."]
    assert split_text("Well... perhaps not.", 16, len) == ["Well...", "perhaps not."]


def test_brace_groups_are_not_cut() -> None:
    assert split_text("ab{HH AW1}cd", 9, len) == ["ab", "{HH AW1}c", "d"]
    with pytest.raises(TextError, match=r"brace group '\{HH AW1\}' alone has 8 tokens, the limit is 7"):
        split_text("ab {HH AW1} cd", 7, len)


def test_character_over_the_limit_is_rejected() -> None:
    with pytest.raises(TextError, match="character '7' alone has 5 tokens, the limit is 3"):
        split_text("7", 3, FrontEnd().count_tokens)


def test_silent_pieces_are_joined_to_a_neighbour() -> None:
    def letters(piece: str) -> int:
        return sum(map(str.isalpha, piece))

    assert split_text("One. ... Two. ?!", 5, letters) == ["One. ...", "Two. ?!"]
    assert split_text("... One.", 5, letters) == ["... One."]
    assert split_text("One. 😀", 20, FrontEnd().count_tokens) == ["One. 😀"]


@pytest.mark.parametrize("text", ["", " \n "])
def test_empty_text_has_no_pieces(text: str) -> None:
    assert split_text(text, 10, len) == []


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(TextError, match="max_tokens: expected at least 1, got 0"):
        split_text("text", 0, len)
    with pytest.raises(TextError, match="text: expected a string, got NoneType"):
        split_text(None, 10, len)  # type: ignore[arg-type]


prose = st.lists(
    st.sampled_from(
        [
            "a",
            "Mr.",
            "word",
            "end.",
            "so,",
            "what?",
            "“no!”",
            "x—y",
            "{HH AW1}",
            "{",
            "}",
            "3.5",
            "longish" * 4,
        ]
    )
    | st.text(max_size=6)
).map(" ".join)


@given(prose, st.integers(9, 60))
def test_pieces_contain_the_complete_text_within_the_limit(text: str, limit: int) -> None:
    try:
        pieces = split_text(text, limit, len)
    except TextError as error:
        if "brace group" not in str(error):
            raise
        return
    assert all(0 < len(piece) <= limit and piece == piece.strip() for piece in pieces)
    # Joined with at most one space between them, the pieces are the collapsed text.
    assert re.fullmatch(" ?".join(map(re.escape, pieces)), " ".join(text.split()))


@given(prose, st.integers(60, 90))
def test_limit_holds_in_tokens(text: str, limit: int) -> None:
    voice = FrontEnd()
    pieces = split_text(text, limit, voice.count_tokens)
    assert all(voice.count_tokens(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


ONE_SENTENCE = [
    "The committee will meet again on Jan. 5 in the large hall on Park Ave. in New York, where approx. 200 guests are "
    "expected at 5 p.m. EST, and it will then decide.",
    "We meet on Mon. Jan. 5 and on Thurs. 8 of Sept. 2026 at noon.",
    "Prof. Smith, Sen. Jones and Lt. Col. Brown saw Messrs. A and B.",
    "Smith & Co. Ltd. and Apple Inc. CEO Tim Cook met the U.S. Army.",
    "It is 5 ft. 3 in. long, weighs 10 lbs. and costs approx. 200 dollars.",
    "See No. 5, Fig. 3, vol. 2, pp. 7 and Dr. J. R. R. Tolkien, Ph.D. students and e.g. this, i.e. that.",
    "It opens at 6 p.m. Monday and closes at 7 a.m. on Tues. 9.",
    "1. First item",
    "He came on Mon. and left on Tues. in Sept. last year, at approx. 200 km with ca. 50 others.",
    "The U.K. and Washington, D.C. offices of Beta Inc. in Texas open at 5 p.m. PT on Thurs. at max. 10.",
    "Smith, J. and Jones, K. wrote Vol. 2, no. 3, pp. 5-7 of it with Martin Luther King Jr. himself.",
]


@pytest.mark.parametrize("sentence", ONE_SENTENCE)
def test_an_abbreviation_does_not_end_a_sentence(sentence: str) -> None:
    """jaredrhod/backtalk#31, KittenTTS#115, NeMo-Speech.cpp#36."""
    assert split_text(sentence, 1000, len) == [sentence]


@pytest.mark.parametrize(
    "pieces",
    [
        ["It starts at 7 p.m.", "Bring a coat."],
        ["He works at Acme Inc.", "He likes it."],
        ["He lives in the U.S.", "She does not.", "It was I.", "We won."],
        ["He ran 5 mi.", "Then he sat.", "It was on Main St.", "The end."],
        ["It was in Nov.", "He left in 1990.", "She stayed."],
        ["1. First item.", "2. Second item.", "A. Third.", "B. Fourth."],
        ["b. Sixth item.", "7. seventh item."],
        ["i like cats.", "they are nice.", "ok."],
    ],
)
def test_an_abbreviation_may_end_a_sentence(pieces: list[str]) -> None:
    assert split_text(" ".join(pieces), 1000, len) == pieces


def test_a_line_break_ends_a_sentence() -> None:
    """rhasspy/piper#349, pocket-tts#153, open-webui#5924."""
    assert split_text("Chapter One\nIt was a dark night.", 1000, len) == ["Chapter One", "It was a dark night."]
    assert split_text("milk\r\neggs\n\nbread", 1000, len) == ["milk", "eggs", "bread"]
    assert split_text("- milk\n- two eggs\n1. bread", 1000, len) == ["- milk", "- two eggs", "1. bread"]
    assert split_text("Dear Sir,\nthank you.", 1000, len) == ["Dear Sir,", "thank you."]


def test_a_wrapped_line_does_not_end_a_sentence() -> None:
    text = "The quick brown fox jumped over the lazy dog, and then it\nwent away to sleep."
    assert split_text(text, 1000, len) == [text.replace("\n", " ")]


@given(prose.map(lambda text: text.replace("word", "\n")), st.data())
def test_line_joiner_does_not_depend_on_how_the_text_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    joiner = LineJoiner()
    parts = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(joiner.add, parts)) == collapse_lines(text)


def test_lines_of_punctuation_beside_words_without_symbols() -> None:
    with pytest.raises(TextError, match=r"nothing of 'Ց.*' can be spoken; this voice has no symbol for: 'ց'"):
        split_into_pieces(FrontEnd(cleaners=("lowercase",)), "Ց\n\n- -", 40)
