"""The judgement on an utterance, on made-up alignments with planted faults; tests/test_speech.py has real ones."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tacoglow.runtime.quality import Fault, Quality, SpeechFault, describe, judge, severity
from tacoglow.text import FrontEnd

TEXT = "We put the kettle on, and then nobody said another word."
VOICE = FrontEnd()
LETTERS = np.array(VOICE.letters(VOICE.lookup(TEXT)))
PACE = 5  # frames per token
WORDS = {word.text: (word.first, word.stop) for word in VOICE.words(TEXT)}


def walk(path: Any, sharpness: float = 1.5) -> NDArray[np.float32]:
    """An alignment [F, T] whose attention is at path[f], and blurred over its neighbours as a trained one is."""
    distance = (np.arange(len(LETTERS)) - np.asarray(path)[:, None]) * sharpness
    weights = np.exp(-(distance**2) / 2)
    alignment: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return alignment


def straight() -> NDArray[np.float64]:
    """The path of good speech: through all tokens at an even pace."""
    return np.linspace(0, len(LETTERS) - 1, PACE * len(LETTERS))


def reasons(alignment: NDArray[np.float32], is_cut_off: bool = False) -> dict[str, str]:
    """The faults' reasons, each with its words."""
    quality = describe(judge(alignment, is_cut_off, LETTERS), VOICE.words(TEXT))
    return {fault.reason: " ".join(fault.words) for fault in quality.faults}


def test_good_speech_has_no_fault() -> None:
    assert reasons(walk(straight())) == {}


@given(st.lists(st.floats(0.4, 3.0), min_size=len(LETTERS), max_size=len(LETTERS)), st.floats(0.8, 4.0))
def test_uneven_speech_has_no_fault(durations: list[float], sharpness: float) -> None:
    """Tokens that last from 2 to 15 frames, as vowels, silent letters and commas do."""
    path = np.repeat(np.arange(len(LETTERS)), [max(round(PACE * d), 2) for d in durations])
    assert reasons(walk(path, sharpness)) == {}


@pytest.mark.parametrize("word", ["kettle", "nobody", "another"])
def test_a_word_without_frames_is_skipped(word: str) -> None:
    path, (first, stop) = straight(), WORDS[word]
    assert reasons(walk(path[(path < first) | (path >= stop)])) == {"skipped": word}


@pytest.mark.parametrize("word", ["kettle", "nobody", "another"])
def test_a_masked_word_is_skipped(word: str) -> None:
    alignment, (first, stop) = walk(straight()), WORDS[word]
    alignment[:, first:stop] = 0.0
    alignment[:, first - 1] += 1.0 - alignment.sum(1)
    assert word in reasons(alignment)["skipped"]


@pytest.mark.parametrize("word", ["kettle", "nobody", "another"])
def test_a_word_spoken_twice_is_repeated(word: str) -> None:
    path, (first, stop) = straight(), WORDS[word]
    again = path[(path >= first) & (path < stop)]
    assert word in reasons(walk(np.concatenate([path[path < stop], again, path[path >= stop]])))["repeated"]


def test_a_rest_is_stuck() -> None:
    path, letter = straight(), WORDS["nobody"][0] + 3
    rest = np.full(30 * PACE, letter)
    found = reasons(walk(np.concatenate([path[path < letter], rest, path[path >= letter]])))
    assert found == {"stuck": "nobody"}


def test_an_early_end_is_cut_off() -> None:
    path, (first, _) = straight(), WORDS["said"]
    assert reasons(walk(path[path < first])) == {"cut_off": "said another word."}
    assert reasons(walk(path[path < first]), is_cut_off=True)["cut_off"].endswith("said another word.")
    assert reasons(walk(path)[:0]) == {"cut_off": TEXT}


def test_frames_after_the_end_are_babble() -> None:
    long = np.concatenate([straight(), np.full(40 * PACE, len(LETTERS) - 1)])
    assert reasons(walk(long)) == {"babble": ""}
    assert reasons(walk(straight()), is_cut_off=True) == {"babble": ""}


def test_attention_that_looks_nowhere_is_babble() -> None:
    nowhere = np.full((300, len(LETTERS)), 1 / len(LETTERS), np.float32)
    assert reasons(nowhere) == {"babble": TEXT}


def test_the_worst_is_the_most_severe() -> None:
    one, two = (Fault("skipped", 3, 6),), (Fault("skipped", 3, 6), Fault("stuck", 9, 10))
    assert 0 == severity((), 20) < severity(one, 20) < severity(two, 20) < severity((Fault("babble", 20, 20),), 20)


def test_quality_in_words() -> None:
    faults = (SpeechFault("skipped", ("proper",)), SpeechFault("cut_off", tuple("abcdefgh")), SpeechFault("babble", ()))
    assert str(Quality(faults)) == "skipped: proper; cut off: a b c d e … h; babble"
    assert Quality(faults).reasons == ("skipped", "cut_off", "babble")
    assert (str(Quality()), Quality().faults) == ("good", ())
    assert str(SpeechFault("skipped", ("\x1b[2Ja", "b\0", "é"))) == r"skipped: \x1b[2Ja b\x00 é"  # logs show it


def test_text_without_letters_is_not_judged() -> None:
    assert judge(np.ones((9, 2), np.float32), False, np.array([False, False])) == ()


def test_time_is_linear_in_the_frames() -> None:
    def seconds(frames: int) -> float:
        alignment = np.random.default_rng(0).random((frames, 64), np.float32)
        letters = np.ones(64, bool)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            judge(alignment, False, letters)
            times.append(time.perf_counter() - start)
        return min(times)

    seconds(100)
    assert seconds(80_000) < 8 * 3 * seconds(10_000)
