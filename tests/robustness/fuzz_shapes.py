"""Target: texts of a drawn shape, repeated: eight times the text takes about eight times as long."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress

from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.gateway.sentences import SentenceBuffer
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.pieces import Split
from tacoglow.tests.robustness.fuzzed_bundle import tiny_bundle
from tacoglow.tests.text_shapes import RATIO
from tacoglow.text import Lexicon, TextError

LENGTH = 1_000  # characters, and eight times as many
TRIES = 3  # a slow case is measured again: the machine may have been busy
PARTS = 50  # of a text that comes in parts
PLAIN = Synthesizer.load(tiny_bundle(), "onnxruntime", threads=1)
READING = Synthesizer.load(tiny_bundle(), "onnxruntime", threads=1)
READING.read_notations()
LEXICON = Lexicon({"a": "eh", "b c": "{B IY1}", "x.": "ex", "e g": "for"})
CHARACTERS = "abé1290.,:;!?-–—/\\@#$€%&*+=()[]{}<>'\"“”…|~^_½😀\n\t \u0301\u200d\x00"
WORDS = (
    *("Dr. ", "No. ", "e.g.", "U.S. ", "p.m. ", "Jan. ", "St", "IV", "1st", "12:30", "2020-01-01", "3.14", "1,000"),
    *("http://", "www.", ".com", "a@b", "$5", "5 kg", "{AH0}", "{HH ", "[pause 0.1s]", "[pause", "\r\n", "b c", "x."),
    *("<speak>", "</s>", "<break time='1s'/>", "&amp;"),
)
TOKENS = st.sampled_from([*CHARACTERS, *WORDS])
UNITS = st.lists(TOKENS, min_size=1, max_size=6).map("".join)
CASES = st.tuples(
    UNITS, st.one_of(st.just(""), UNITS), st.sampled_from(["plain", "reading", "ssml", "lexicon", "parts"])
)


def _split(voice: Synthesizer, options: SpeechOptions) -> Callable[[str], Split]:
    return lambda text: voice.split(text, options)


def _in_parts(text: str) -> None:
    buffer, size = SentenceBuffer(), max(1, len(text) // PARTS)
    for start in range(0, len(text), size):
        buffer.add(text[start : start + size])
    buffer.flush()


WAYS: dict[str, Callable[[str], object]] = {
    "plain": _split(PLAIN, SpeechOptions()),
    "reading": _split(READING, SpeechOptions()),
    "ssml": lambda text: READING.split(f"<speak>{text}</speak>", SpeechOptions(ssml=True)),
    "lexicon": _split(READING, SpeechOptions(lexicon=LEXICON)),
    "parts": _in_parts,
}


def _seconds(way: Callable[[str], object], unit: str, beginning: str, length: int) -> float:
    text = beginning + unit * (length // len(unit) + 1)
    start = time.thread_time()
    with suppress(TextError):  # refused, as fast
        way(text)
    return time.thread_time() - start


def try_one(case: tuple[str, str, str]) -> None:
    """Measure a text of a shape and one of eight times its length."""
    unit, beginning, name = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ratios = []
        for _ in range(TRIES):
            short = min(_seconds(WAYS[name], unit, beginning, LENGTH) for _ in range(2))
            ratios.append(_seconds(WAYS[name], unit, beginning, 8 * LENGTH) / max(short, 1e-4))
            if ratios[-1] < RATIO:
                return
    raise AssertionError(f"8 times the text takes {min(ratios):.0f} times as long: {case!r}")
