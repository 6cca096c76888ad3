"""English text against the output of NVIDIA's published front end (tests/golden/make_text.py)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from tacoglow.text import NVIDIA_SYMBOLS, DroppedSymbolWarning, sequence_to_text, text_to_sequence

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "text_english.json").read_text(encoding="utf-8")
)


def ids_of(text: str) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)
        return text_to_sequence(text, ["english_cleaners"])


def test_ids_are_identical_to_nvidia() -> None:
    different = [case["text"] for case in CASES if "ids" in case and ids_of(case["text"]) != case["ids"]]
    assert not different
    assert sum("ids" in case for case in CASES) > 1000


def test_texts_that_crash_nvidias_code_are_spoken() -> None:
    crashes = [case["text"] for case in CASES if "error" in case]
    assert crashes
    assert all(ids_of(text) for text in crashes)


def test_symbols_are_nvidias_148_in_order() -> None:
    assert len(NVIDIA_SYMBOLS) == 148
    assert NVIDIA_SYMBOLS[:13] == tuple("_-!'(),.:;? A")
    assert NVIDIA_SYMBOLS[63:65] == ("z", "@AA")
    assert NVIDIA_SYMBOLS[-1] == "@ZH"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("$,5", "five dollars"),
        ("$1,.5", "one dollar, five cents"),
        ("$1.2.3", "one point two.three dollars"),
        ("1905", "nineteen oh five"),
        ("1" + "0" * 36, "one" + " zero" * 36),
        ("0" * 50 + "7", "seven"),
        ("1" * 36 + "2nd", "one " * 36 + "second"),
        ("£5", "psfive"),
        ("{HH AW1}{S}", "{HH AW1 S}"),
    ],
)
def test_spoken_text(text: str, spoken: str) -> None:
    assert sequence_to_text(ids_of(text)) == spoken
