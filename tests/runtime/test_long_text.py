"""Synthesis of long texts: pages, a chapter of a book, and 20,000 words."""

from __future__ import annotations

import json
import resource
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tacoglow import StreamOptions, Synthesizer
from tacoglow.runtime.pieces import split_into_pieces
from tacoglow.text import FrontEnd

# LJ Speech's test list: sentences of seven books, with abbreviations, numbers and quotations.
CASES = json.loads((Path(__file__).parents[1] / "golden" / "text_english.json").read_text(encoding="utf-8"))
LINES = [case["text"] for case in CASES[:500]]
CHAPTER = " ".join(LINES)


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.simplefilter("ignore")


def test_chapter_is_split_without_losing_text(voice: Synthesizer) -> None:
    limit = voice.manifest.range("T").max
    pieces = split_into_pieces(voice.front_end, CHAPTER, limit).pieces
    assert len(CHAPTER.split()) > 8000
    # Splits at a dash or in a long word add no space, so compare without spaces.
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(CHAPTER.split())
    assert max(len(voice.front_end.encode(piece.text)) for piece in pieces) <= limit


def test_each_part_is_encoded_once(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode = Counter[str](), FrontEnd.encode_or_drop

    def count(front_end: FrontEnd, text: str) -> list[int]:
        encoded[text] += 1
        return encode(front_end, text)

    monkeypatch.setattr(FrontEnd, "encode_or_drop", count)
    split_into_pieces(voice.front_end, "Oh. No. " * 50 + CHAPTER[:5_000], voice.manifest.range("T").max)
    assert set(encoded.values()) == {1}


def test_streamed_page_equals_unstreamed_page(voice: Synthesizer) -> None:
    page = " ".join(LINES[:12])
    whole = voice.say(page, seed=3)
    assert " ".join(utterance.text for utterance in whole.utterances).split() == page.split()
    streamed = np.concatenate(list(voice.stream(page, 3, StreamOptions(context_frames=None))))
    np.testing.assert_allclose(streamed, whole.samples, atol=1e-4)


@pytest.mark.slow
def test_stream_of_20000_words_has_constant_memory(voice: Synthesizer) -> None:
    """Resident memory does not grow after the first tenth by more than one utterance needs."""
    text = " ".join([CHAPTER] * 3)
    assert len(text.split()) > 20_000
    pieces = len(split_into_pieces(voice.front_end, text, voice.manifest.range("T").max).pieces)
    stream, peak_early, samples = voice.stream(text), 0, 0
    for chunk in stream:
        samples += len(chunk)
        if not peak_early and len(stream.stop_reasons) > pieces // 10:
            peak_early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_early  # kB
    print(f"{pieces} pieces, {samples} samples; resident memory grew by {grown} kB after the first tenth")
    assert len(stream.stop_reasons) == pieces
    assert grown < 20_000
