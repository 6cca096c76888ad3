"""SentenceBuffer: the same sentences however the text is cut, and each as early as its end can be known."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.gateway.sentences import SentenceBuffer
from tacoglow.text import split_text

from ..text_shapes import SHAPES, takes_linear_time

WORDS = [
    "a",
    "Mr.",
    "No.",
    "5",
    "p.m.",
    "end.",
    "so,",
    "what?",
    "“no!”",
    "{HH. AW1}",
    "{",
    "{}",
    "}",
    "...",
    "\n",
    "😀",
]
prose = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=12).map(" ".join)


def sentences(parts: list[str]) -> list[str]:
    buffer = SentenceBuffer()
    return [sentence for part in parts for sentence in buffer.add(part)] + buffer.flush()


@given(prose, st.data())
def test_sentences_do_not_depend_on_how_the_text_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parts = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert sentences(parts) == sentences([text]) == sentences(list(text))


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_sentences_are_those_of_split_text(text: str) -> None:
    assert sentences(list(text)) == split_text(text, 10_000, len)


def test_a_sentence_is_returned_with_the_first_character_of_the_next_one() -> None:
    buffer = SentenceBuffer()
    assert buffer.add("Mr. Smith le") == []
    assert buffer.add("ft. ") == []
    assert buffer.add("H") == ["Mr. Smith left."]
    assert buffer.add("e is back. No. 5 {B. AY1") == ["He is back."]
    assert buffer.add("} is. No. I") == ["No. 5 {B. AY1} is.", "No."]
    assert buffer.flush() == ["I"]


def test_flush_gives_the_rest_and_empties_the_buffer() -> None:
    buffer = SentenceBuffer()
    assert buffer.add("An {open brace. Here") == []
    assert buffer.flush() == ["An {open brace.", "Here"]
    assert buffer.flush() == []
    assert buffer.add(" \n ") == []
    assert buffer.flush() == []


CUTS = {"at once": 1_000_000, "by characters": 1, "by seven": 7}


def seconds(text: str, size: int) -> float:
    """To take a text in parts of this size, and nothing for each of them."""
    buffer = SentenceBuffer()
    start = time.process_time()
    for at in range(0, len(text), size):
        buffer.add(text[at : at + size])
        buffer.add("")
    buffer.flush()
    return time.process_time() - start


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(shape: str, cut: str) -> None:
    assert takes_linear_time(lambda text: seconds(text, CUTS[cut]), shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_split_the_same_however_they_are_cut(shape: str) -> None:
    text = "So {. " * (len(shape) % 2) + shape * (300 // len(shape)) + "x"
    assert sentences(list(text)) == sentences([text]) == split_text(text, 10_000, len)
