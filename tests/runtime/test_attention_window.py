"""A window of the attention: masks that move forward, the same through every way to decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tacoglow import Scheduler, Synthesizer
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.host_steps import WINDOW_BEHIND, AttentionWindow
from tacoglow.runtime.options import SpeechOptions

TEXTS = ("I missed you.", "Hello world, how are you?", "Hi.")


@pytest.fixture(scope="module")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, "onnxruntime")


def visible(window: AttentionWindow, row: int) -> list[int]:
    return [int(token) for token in np.flatnonzero(~window.mask[row])]


def test_the_window_moves_forward_alone() -> None:
    padding = np.zeros((3, 12), bool)
    padding[1, 6:] = True
    window = AttentionWindow(padding, [3, 3, None])
    assert [visible(window, row) for row in range(3)] == [[0, 1, 2, 3], [0, 1, 2, 3], list(range(12))]
    window.move(np.eye(12, dtype=np.float32)[[5, 4, 7]])
    assert visible(window, 0) == list(range(5 - WINDOW_BEHIND, 9))
    assert visible(window, 1) == [2, 3, 4, 5]  # up to the padding
    window.move(np.eye(12, dtype=np.float32)[[1, 4, 0]])  # back
    assert window.reached.tolist() == [5, 4, 7]
    assert visible(window, 0) == list(range(5 - WINDOW_BEHIND, 9))
    assert visible(window, 2) == list(range(12))


def test_no_attention_outside_the_window(voice: Synthesizer) -> None:
    options = SpeechOptions(attention_window=2)
    for audio in voice.say_batch(TEXTS, options=options):
        alignment = audio.utterances[0].alignment
        reached = 0
        for weights in alignment:
            seen = np.flatnonzero(weights)
            assert reached - WINDOW_BEHIND <= seen[0]
            assert seen[-1] <= reached + 2
            reached = max(reached, int(weights.argmax()))
        assert (alignment[0, 3:] == 0).all()


def test_a_window_wider_than_the_text_changes_nothing(voice: Synthesizer) -> None:
    for text in TEXTS:
        wide = voice.say(text, attention_window=1000)
        plain = voice.say(text)
        if plain.utterances[0].alignment.argmax(1).max() <= WINDOW_BEHIND:  # nothing was behind the window
            assert np.array_equal(wide.samples, plain.samples)


def test_batch_stream_and_scheduler_speak_as_alone(voice: Synthesizer) -> None:
    windows = (2, None, 5)
    alone = [voice.say(text, 3, attention_window=n) for text, n in zip(TEXTS, windows, strict=True)]
    assert not np.array_equal(alone[0].utterances[0].alignment, voice.say(TEXTS[0], 3).utterances[0].alignment)
    streams = [
        voice.stream(text, 3, attention_window=n, timestamps=True) for text, n in zip(TEXTS, windows, strict=True)
    ]
    for stream, audio in zip(streams, alone, strict=True):
        assert sum(map(len, stream)) == len(audio.samples)
    with Scheduler(voice) as scheduler:
        handles = [
            scheduler.submit(text, 3, SpeechOptions(attention_window=n)) for text, n in zip(TEXTS, windows, strict=True)
        ]
        for handle, audio in zip(handles, alone, strict=True):
            assert np.array_equal(handle.result(60).utterances[0].alignment, audio.utterances[0].alignment)


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="attention window: expected 1 token or more, got 0"):
        SpeechOptions(attention_window=0)
