"""english_cleaners_extended: notations as people say them, and nothing else changed."""

from __future__ import annotations

import pytest

from tacoglow.text.cleaners import english_cleaners, english_cleaners_extended


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("at 10:05 pm", "at ten oh five p m"),
        ("at 10:30", "at ten thirty"),
        ("at 9:00 A.M.", "at nine a m"),
        ("at 9:00", "at nine o'clock"),
        ("at 14:00", "at fourteen hundred"),
        ("from 5 pm", "from five p m"),
        ("on 2026-11-25", "on november twenty-fifth, twenty twenty-six"),
        ("on 1/2/2003", "on january second, two thousand three"),
        ("on 25/12/1999", "on december twenty-fifth, nineteen ninety-nine"),
        ("on 3.10.1990", "on october third, nineteen ninety"),
        ("on Nov. 3", "on november three"),
        ("5 km", "five kilometers"),
        ("1 kg", "one kilogram"),
        ("-3°C", "-three degrees celsius"),
        ("50%", "fifty percent"),
        ("80 km/h", "eighty kilometers per hour"),
        ("2.5 GHz", "two point five gigahertz"),
        ("$2.5 million", "two point five million dollars"),
        ("john.doe+x@mail-a.example.com.", "john dot doe plus x at mail dash a dot example dot com."),
        ("see https://www.example.org/a_b.", "see www dot example dot org slash a underscore b."),
    ],
)
def test_notation_is_spoken(written: str, spoken: str) -> None:
    assert english_cleaners_extended(written) == spoken


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid $5.20 for 3 things in May.",
        "the 1980s, 5 in a row, 3 m, 7 s",
        "version 1.2.3.4, score 10:60, 25:30, 1:2:3",
        "on 2026-13-45, on 45/45/2000, 12345-11-25",
        "a@b, @name, marching, december",
        "I am here. The minister said 5 minutes.",
    ],
)
def test_other_text_is_as_with_english_cleaners(text: str) -> None:
    assert english_cleaners_extended(text) == english_cleaners(text)
