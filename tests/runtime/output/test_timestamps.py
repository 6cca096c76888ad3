"""Times of words and characters: from known alignments, over pieces, pauses and rates, in streams and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.subtitles import encode_times
from tacoglow.runtime.output.timestamps import TimedText, time_utterance, token_bounds
from tacoglow.text import FrontEnd

ENDLESS = 1.0 - 1e-12  # gate threshold that is never reached: every utterance has 40 frames


def spans(front_end: FrontEnd, text: str) -> list[tuple[str, str]]:
    """Each word as it is written and as it is spoken."""
    ids = front_end.encode(text)
    return [
        (word.text, "".join(front_end.name(i) for i in ids[word.first : word.stop])) for word in front_end.words(text)
    ]


def hard_alignment(durations: list[int], noise: float = 0.0) -> np.ndarray:
    """[F, T]: token t gets the attention of durations[t] frames."""
    rows = np.repeat(np.eye(len(durations), dtype=np.float32), durations, axis=0)
    random = np.random.RandomState(0).uniform(0, noise, rows.shape).astype(np.float32)
    return rows * (1.0 - noise) + random


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.sampled_from([0.0, 0.4]))
def test_known_durations_are_found(durations: list[int], noise: float) -> None:
    bounds = token_bounds(hard_alignment(durations, noise))
    spoken = [t for t, duration in enumerate(durations) if duration]
    expected = np.cumsum([0, *durations])
    assert (np.diff(bounds) >= 0).all()
    assert [bounds[t] for t in spoken] == [expected[t] for t in spoken]
    assert [bounds[t + 1] for t in spoken] == [expected[t + 1] for t in spoken]


def test_a_glance_back_or_ahead_does_not_move_the_path() -> None:
    alignment = hard_alignment([5, 5, 5, 5], noise=0.1)
    alignment[7] = [0.9, 0.02, 0.04, 0.04]  # back
    alignment[3] = [0.02, 0.04, 0.04, 0.9]  # ahead
    assert token_bounds(alignment).tolist() == [0, 5, 10, 15, 20]


def test_each_word_of_the_input_has_the_tokens_that_speak_it() -> None:
    assert spans(FrontEnd(), 'Dr. Smith paid $2.50, in 1995 — "well", naïve {HH AW1 S}!') == [
        ("Dr.", "doctor"),
        ("Smith", " smith"),
        ("paid", " paid"),
        ("$2.50,", " two dollars, fifty cents"),
        ("in", "in"),  # after a pause, the space does not belong to the word
        ("1995", " nineteen ninety-five"),
        ("—", " --"),
        ('"well",', " well"),
        ("naïve", "naive"),
        ("{HH AW1 S}!", " HHAW1S"),
    ]


def test_words_that_cleaners_drop_or_join_keep_their_place() -> None:
    """The space that a dropped word leaves is collapsed, so the words alone have one token more than the text."""
    assert spans(FrontEnd(), "a ☃ b") == [("a", "a"), ("☃", ""), ("b", " b")]
    front_end = FrontEnd(cleaners=("basic_cleaners",))
    assert [word for word, _ in spans(front_end, "one  two\nthree ☃")] == ["one", "two", "three", "☃"]


@given(st.lists(st.sampled_from(["a", "2", "$3.50", "Mr.", "☃", "—", "{B}", "don't", "1,000", "{", "x}"]), min_size=1))
def test_all_words_are_there_in_order(words: list[str]) -> None:
    text = " ".join(words)
    found = FrontEnd().words(text)
    assert " ".join(word.text for word in found) == text
    limits = [limit for word in found for limit in (word.first, word.stop)]
    assert limits == sorted(limits)
    assert limits[-1] <= len(FrontEnd().lookup(text))


def test_words_have_the_times_of_their_frames() -> None:
    """ "Hi, you." has 8 tokens; one frame per 0.1 s, and the utterance begins at 2 s."""
    alignment = hard_alignment([2, 3, 4, 1, 2, 2, 2, 4])
    times = time_utterance(FrontEnd(), "Hi, you.", alignment, 2.0, 2.0)
    assert [word.text for word in times.words] == ["Hi,", "you."]
    np.testing.assert_allclose([(word.start, word.end) for word in times.words], [(2.0, 2.5), (3.0, 3.6)])
    assert "".join(character.text for character in times.characters) == "hi, you."
    np.testing.assert_allclose([c.end - c.start for c in times.characters], np.array([2, 3, 4, 1, 2, 2, 2, 4]) / 10)


def test_speech_of_no_frames_has_words_of_no_length() -> None:
    times = time_utterance(FrontEnd(), "Hi you.", np.zeros((0, 7), np.float32), 1.0, 0.0)
    assert [(word.start, word.end) for word in times.words] == [(1.0, 1.0)] * 2


def test_times_follow_pieces_pauses_and_rate(voice: Synthesizer) -> None:
    text = "[pause 0.5s] It is short. [pause 1s] The other one!"
    plain = voice.say(text, options=SpeechOptions(gate_threshold=ENDLESS))
    assert [word.text for word in plain.words] == "It is short. The other one!".split()
    length = 40 * voice.manifest.audio.hop_length / plain.sampling_rate  # of each piece, in seconds
    second = plain.words[3:]
    assert 0.5 <= plain.words[0].start <= plain.words[2].end <= 0.5 + length
    assert 1.5 + length <= second[0].start <= second[-1].end <= 1.5 + 2 * length + 1e-9
    slow = voice.say(text, options=SpeechOptions(gate_threshold=ENDLESS, rate=0.5))
    for word, slower in zip(plain.words, slow.words, strict=True):
        before = (0.5, 0.0) if word.start < 1.5 + length else (1.5, length)  # pauses, speech
        expected = before[0] + before[1] * 2 + (word.start - sum(before)) * 2
        assert slower.start == pytest.approx(expected)


def test_stream_has_the_times_of_whole_speech(voice: Synthesizer) -> None:
    text, options = "It is short. [pause 0.3s] The other one follows!", SpeechOptions(rate=0.8, sentence_silence=0.1)
    with voice.stream(text, 3, StreamOptions(2, 5, None), options, timestamps=True) as stream:
        for _ in stream:
            pass
    whole = voice.say(text, 3, options)
    assert tuple(stream.words) == whole.words
    assert tuple(stream.characters) == whole.characters


def test_stream_that_is_silent_and_trimmed_has_the_times_of_whole_speech(voice: Synthesizer) -> None:
    """The last frame of 10 ms, which is not full, is left out too."""
    options = SpeechOptions(volume=0.0, trim_silence=True, gate_threshold=ENDLESS, max_frames=39)
    with voice.stream("Hi.", 3, StreamOptions(2, 5, None), options, timestamps=True) as stream:
        assert sum(map(len, stream)) == 0
    whole = voice.say("Hi.", 3, options)
    assert whole.words[0].end > 0.0
    assert tuple(stream.words) == whole.words


WORDS = [
    TimedText("One", 0.0, 0.5),
    TimedText("<two>.", 0.5, 1.25),
    TimedText("Three", 1.3, 61.0),
    TimedText("four", 3661.5, 3662.0004),
]


def test_subtitles() -> None:
    """A cue ends with its sentence, and at a silence."""
    assert encode_times(WORDS, [], "srt") == (
        "1\n00:00:00,000 --> 00:00:01,250\nOne <two>.\n\n"
        "2\n00:00:01,300 --> 00:01:01,000\nThree\n\n"
        "3\n01:01:01,500 --> 01:01:02,000\nfour\n\n"
    )
    assert encode_times(WORDS, [], "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nOne &lt;two&gt;.\n\n"
        "00:00:01.300 --> 00:01:01.000\nThree\n\n"
        "01:01:01.500 --> 01:01:02.000\nfour\n\n"
    )


def test_long_sentences_are_cut_into_readable_subtitles() -> None:
    words = [TimedText("word", i * 0.1, i * 0.1 + 0.1) for i in range(40)]
    lines = encode_times(words, [], "srt").splitlines()[2::4]
    assert " ".join(lines).split() == ["word"] * 40
    assert [len(line) for line in lines] == [84, 84, 29]  # 17, 17 and 6 words


def test_json() -> None:
    content = json.loads(encode_times(WORDS[:1], [TimedText("é", 0.00049, 0.1)], "json"))
    assert content == {
        "words": [{"text": "One", "start": 0.0, "end": 0.5}],
        "characters": [{"text": "é", "start": 0.0, "end": 0.1}],
    }
