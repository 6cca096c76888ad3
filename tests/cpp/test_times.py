"""C++ tells when words are spoken, and leaves out silence at both ends, as Python does."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.timestamps import TimedText, token_bounds
from tacoglow.runtime.output.trimming import trim_silence
from tacoglow.tests.tolerances import TORCHSCRIPT

from .test_core import check
from .test_quality import Case, cases, write_cases
from .test_speak import speak

ENDLESS = 0.99  # gate threshold that the tiny voice does not reach
LISTED = 2e-6  # the program lists microseconds
TEXTS = [
    "I missed you.",
    "[pause 0.3s] I missed you, Dr. Smith! [pause 0.5s] [pause 0.2s]",
    "One, two. Three four five six seven! Eight nine {T EH1 N}, eleven twelve thirteen fourteen.",
]


def with_ties() -> list[Case]:
    """Alignments whose best path is not the only one: of few different weights, and of equal ones."""
    draw = np.random.default_rng(7)
    made: list[Case] = []
    for _ in range(300):
        frames, tokens = (int(size) for size in draw.integers(0, 12, 2))
        weights = draw.choice(np.array([0.0, 0.25, 0.5], np.float32), (frames, tokens + 1))
        made.append((weights, False, np.ones(tokens + 1, np.bool_)))
    return made


def test_bounds_of_tokens_equal_python(programs: Path, tmp_path: Path) -> None:
    given = cases(1000) + with_ties()
    write_cases(tmp_path / "cases", given)
    answers = check(programs, "bounds", tmp_path / "cases").decode().splitlines()
    assert [[int(frame) for frame in line.split()] for line in answers] == [
        token_bounds(alignment).tolist() for alignment, _, _ in given
    ]


@pytest.mark.parametrize("volume", [1.0, 0.3])
@pytest.mark.parametrize("rate", [1000, 22050])
def test_trimmed_samples_equal_python(programs: Path, rate: int, volume: float) -> None:
    """Of speech that is silent here and there, at its ends, and altogether, cut anywhere."""
    draw = np.random.default_rng(8)
    for seed in range(20):
        levels = draw.choice([0.0, 0.001, 0.004, 0.1] if seed else [0.001], 30) * volume
        samples = np.concatenate([draw.normal(0, level, draw.integers(1, 700)) for level in levels]).astype(np.float32)
        expected, lead = trim_silence(samples, rate, volume)
        command = [str(programs / "checks" / "checks"), "trim", str(rate), str(volume), str(seed)]
        done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert np.frombuffer(done.stdout[:8], np.int64).tolist() == [lead]
        np.testing.assert_array_equal(np.frombuffer(done.stdout[8:], np.float32), expected)


def test_tokens_of_a_voice_without_text_are_named_as_in_python(programs: Path, tiny_bundle: Path) -> None:
    front_end = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).front_end
    names = check(programs, "names", tiny_bundle).decode().split("\n")[:-1]
    assert names == [front_end.name(i) for i in range(len(front_end.symbols))]
    assert "AH0" in names


def words_of(path: Path) -> list[TimedText]:
    """The words of the program's list."""
    lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [TimedText(text, float(start), float(end)) for start, end, text in lines]


def require_equal(got: list[TimedText], expected: list[TimedText]) -> None:
    assert [word.text for word in got] == [word.text for word in expected]
    for word, other in zip(got, expected, strict=True):
        assert (word.start, word.end) == pytest.approx((other.start, other.end), abs=LISTED, rel=0)


@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("rate", [1.0, 1.3])
def test_words_are_timed_as_in_python(
    programs: Path, tiny_bundle: Path, tmp_path: Path, text: str, rate: float, trims: bool
) -> None:
    """Whole and streamed, with the silence at the ends and without it."""
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    options = SpeechOptions(rate=rate, gate_threshold=ENDLESS, retries=0, trim_silence=trims)
    flags = ("--rate", rate, "--gate-threshold", ENDLESS, "--retries", 0, *(["--trim-silence"] if trims else []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = voice.say(text, 3, options)
        stream = voice.stream(text, 3, StreamOptions(5, 5, None), options, timestamps=True)
        streamed: NDArray[np.float32] = np.concatenate(list(stream))
    for words, samples, way, tolerance in (
        (list(whole.words), whole.samples, (), 0.0),
        (stream.words, streamed, ("--stream", 5), TORCHSCRIPT),
    ):
        listing = tmp_path / "words.txt"
        done = speak(
            programs, tiny_bundle, tmp_path, "--text", text, "--seed", 3, "--timestamps", listing, *flags, *way
        )
        assert done.returncode == 0, done.stderr
        require_equal(words_of(listing), words)
        got = wavfile.read(tmp_path / "out.wav")[1]
        assert got.shape == samples.shape
        np.testing.assert_allclose(got, samples, rtol=0, atol=tolerance)
