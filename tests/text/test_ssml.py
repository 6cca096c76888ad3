"""SSML: what documents like those of vendors' manuals say, and what hostile ones get."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow.text import TextError, is_ssml, parse_ssml
from tacoglow.text.ssml import CHARACTERS_MAX, DEPTH_MAX

FOLDER = Path(__file__).with_name("ssml")
DOCUMENTS = sorted(FOLDER.glob("*.ssml"))


def parts(document: str) -> list[tuple[str, float | None, float, float]]:
    return [
        (" ".join(part.text.split()), part.pause, part.rate, round(part.volume, 3))
        for part in parse_ssml(document).text.parts
    ]


def said(inner: str) -> str:
    return " ".join(parse_ssml(f"<speak>{inner}</speak>").text.text.split())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_documents_of_the_corpus(path: Path) -> None:
    """Beside each document are the parts that a person wrote down for it."""
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    document = path.read_text(encoding="utf-8")
    assert is_ssml(document)
    assert [list(part) for part in parts(document)] == expected["parts"]
    assert list(parse_ssml(document).remarks) == expected["remarks"]


@pytest.mark.parametrize(
    ("inner", "spoken"),
    [
        ('<sub alias="World Wide Web Consortium">W3C</sub>.', "World Wide Web Consortium."),
        ('<phoneme alphabet="x-arpabet" ph="t ah0 m ey1 t ow2">tomato</phoneme>', "{T AH0 M EY1 T OW2}"),
        ('<say-as interpret-as="characters">AB-1</say-as>', "A B dash one"),
        ('<say-as interpret-as="spell-out">hi</say-as>', "H I"),
        ('<say-as interpret-as="digits">555-012</say-as>', "five five five, zero one two"),
        ('<say-as interpret-as="cardinal">12,345</say-as>', "twelve thousand three hundred forty-five"),
        ('<say-as interpret-as="cardinal">1905</say-as>', "one thousand nine hundred five"),
        ('<say-as interpret-as="cardinal">-3.05</say-as>', "minus three point zero five"),
        ('<say-as interpret-as="ordinal">21</say-as>', "twenty-first"),
        ('<say-as interpret-as="date" format="dmy">3/4/2024</say-as>', "april third, twenty twenty-four"),
        ('<say-as interpret-as="date" format="mdy">3/4/2024</say-as>', "march fourth, twenty twenty-four"),
        ('<say-as interpret-as="date" format="yyyymmdd">2024-03-04</say-as>', "march fourth, twenty twenty-four"),
        ('<say-as interpret-as="date" format="md">12/25</say-as>', "december twenty-fifth"),
        ('<say-as interpret-as="date">5 May 1999</say-as>', "may fifth, nineteen ninety-nine"),
        ('<say-as interpret-as="time" format="hms12">2:30pm</say-as>', "two thirty p m"),
        ('<say-as interpret-as="time">1\'21"</say-as>', "one minute twenty-one seconds"),
        ('<say-as interpret-as="date">15th of January 2024</say-as>', "january fifteenth, twenty twenty-four"),
        ('<say-as interpret-as="date">15/01/2024</say-as>', "january fifteenth, twenty twenty-four"),
        ('<say-as interpret-as="date" format="yyyymmdd">20240115</say-as>', "january fifteenth, twenty twenty-four"),
        ('<say-as interpret-as="date" format="dd/mm/yyyy">3/4/2024</say-as>', "april third, twenty twenty-four"),
        ('<say-as interpret-as="telephone">1-800-FLOWERS</say-as>', "one, eight zero zero, FLOWERS"),
        ('<say-as interpret-as="cardinal">12 345</say-as>', "twelve thousand three hundred forty-five"),
        ('<say-as interpret-as="fraction">1+1/2</say-as>', "one and a half"),
        ("Fish &amp; chips &lt;3 &#233;", "Fish & chips <3 é"),
        ("<desc>no</desc>A<w>B</w>", "AB"),
    ],
)
def test_elements(inner: str, spoken: str) -> None:
    assert said(inner) == spoken
    assert parse_ssml(f"<speak>{inner}</speak>").remarks == ()


@pytest.mark.parametrize(
    ("inner", "spoken", "remark"),
    [
        ("<emphasis>Now</emphasis>!", "Now!", "<emphasis> is not known; its text is spoken"),
        ("<amazon:effect name='x'>Psst</amazon:effect>", "Psst", "<amazon:effect> is not known; its text is spoken"),
        ("<say-as interpret-as='date'>soon</say-as>", "soon", "<say-as interpret-as='date'> cannot read 'soon'"),
        (
            "<say-as interpret-as='expletive'>x</say-as>",
            "x",
            "<say-as interpret-as='expletive'> is not known; its text is spoken",
        ),
        (
            "<phoneme alphabet='ipa' ph='x'>y</phoneme>",
            "y",
            "<phoneme alphabet='ipa'> is not known, only x-arpabet; its text is spoken",
        ),
        ("<prosody pitch='high'>x</prosody>", "x", "<prosody pitch> is not supported"),
    ],
)
def test_what_is_not_known_is_spoken_and_told(inner: str, spoken: str, remark: str) -> None:
    assert said(inner) == spoken
    assert parse_ssml(f"<speak>{inner}</speak>").remarks == (f"ssml: {remark}",)


@pytest.mark.parametrize(
    ("attributes", "rate", "volume"),
    [
        ("rate='slow'", 0.75, 1.0),
        ("rate='120%'", 1.2, 1.0),
        ("rate='-20%'", 0.8, 1.0),
        ("rate='1.5'", 1.5, 1.0),
        ("rate='500%'", 2.0, 1.0),
        ("volume='-6dB'", 1.0, 0.501),
        ("volume='+6dB'", 1.0, 1.995),
        ("volume='50'", 1.0, 0.5),
        ("volume='silent' rate='fast'", 1.3, 0.0),
    ],
)
def test_prosody(attributes: str, rate: float, volume: float) -> None:
    assert parts(f"<speak>One <prosody {attributes}>two</prosody>.</speak>") == [
        ("One", None, 1.0, 1.0),
        ("two.", None, rate, volume),
    ]


def test_nested_prosody_multiplies() -> None:
    document = "<speak><prosody rate='80%'>a <prosody rate='150%' volume='50'>b</prosody> c</prosody></speak>"
    assert parts(document) == [("a", None, 0.8, 1.0), ("b", None, pytest.approx(1.2), 0.5), ("c", None, 0.8, 1.0)]


def test_breaks() -> None:
    paused = parse_ssml(
        "<speak><break time='2s'/>One<break time='500ms'/><break strength='weak'/>, two<break/></speak>"
    )
    assert paused.text.before == 2.0
    assert [(part.text, part.pause) for part in paused.text.parts] == [("One", pytest.approx(0.7)), (", two", 0.4)]


def test_paragraphs_and_sentences_are_lines() -> None:
    text = parse_ssml("<speak><p><s>One</s><s>two</s></p><p>three\nfour</p></speak>").text.text
    assert [line.strip() for line in text.split("\n") if line.strip()] == ["One", "two", "three four"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<speak>a & b</speak>", "ssml: line 1, column 11: not well-formed (invalid token); write & as &amp;"),
        ("<speak>a", "ssml: line 1, column 9: no element found"),
        ("", "ssml: line 1, column 1: no element found"),
        ("<voice>a</voice>", "ssml: expected a document in <speak>, got <voice>"),
        ("<!DOCTYPE speak [<!ENTITY a 'b'>]><speak>&a;</speak>", "ssml: a DTD is not accepted"),
        ("<!DOCTYPE speak SYSTEM 'file:///etc/passwd'><speak/>", "ssml: a DTD is not accepted"),
        ("<speak>&xxe;</speak>", "ssml: line 1, column 8: undefined entity"),
        ("<speak><break time='11s'/></speak>", "ssml: <break time='11s'>: expected 0 to 10 seconds"),
        ("<speak><break time='soon'/></speak>", "ssml: <break time='soon'>: expected 0 to 10 seconds"),
        ("<speak><prosody rate='quick'>a</prosody></speak>", "ssml: <prosody rate='quick'>: expected one of x-slow"),
        ("<speak>" + "<p>" * DEPTH_MAX, f"ssml: elements are nested deeper than {DEPTH_MAX}"),
        ("<speak>" + " " * CHARACTERS_MAX, f"ssml: expected at most {CHARACTERS_MAX} characters"),
        ("<speak>\ud800</speak>", "ssml: contains half a surrogate pair"),
    ],
)
def test_what_is_not_a_document_is_one_clear_line(document: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_ssml(document)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_begins_as_a_document_is_one() -> None:
    assert is_ssml(' \n<?xml version="1.0"?>\n<speak version="1.1">')
    assert is_ssml("<speak>x</speak>")
    assert not is_ssml("<speaker>x</speaker>")
    assert not is_ssml("Say <speak> twice")


TOKENS = [
    *(
        "<speak>",
        "</speak>",
        "<p>",
        "</p>",
        "<s>",
        "</s>",
        "<break/>",
        "<break time='1s'/>",
        "a",
        "5",
        " ",
        "&amp;",
        "&",
    ),
    *("<prosody rate='slow'>", "</prosody>", "<say-as interpret-as='date'>", "</say-as>", "<x>", "</x>", "<!--", "-->"),
    *("<phoneme alphabet='x-arpabet' ph='AH0'>", "</phoneme>", "<sub alias='b'>", "</sub>", "<![CDATA[", "]]>"),
]


@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=3), max_size=20).map("".join))
def test_any_document_is_read_or_rejected(inner: str) -> None:
    for document in (inner, f"<speak>{inner}</speak>"):
        message = ""
        try:
            text = parse_ssml(document).text
            assert text.before >= 0.0
            assert all(part.text for part in text.parts)
        except TextError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize(
    "shape", ["a ", "<p>a</p>", "<break/>", "<break/>.", "<x/>", "<sub alias='b'>a</sub>", "&amp;", "<!---->"]
)
def test_time_is_linear(shape: str) -> None:
    def seconds(length: int) -> float:
        document, start = f"<speak>{shape * (length // len(shape))}</speak>", time.process_time()
        parse_ssml(document)
        return time.process_time() - start

    assert any(seconds(80_000) < 24 * max(seconds(10_000), 1e-3) for _ in range(5))
