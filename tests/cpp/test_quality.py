"""C++ judges speech as Python does: the same faults, words and tries."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.quality import judge, severity
from tacoglow.runtime.synthesizer import SpeechWarning

from .test_core import check
from .test_speak import edit_manifest, speak
from .test_text import GOLDEN, bundle_with
from .texts import generated_texts

BITS = {"skipped": 1, "repeated": 2, "stuck": 4, "cut_off": 8, "babble": 16}
Case = tuple[NDArray[np.float32], bool, NDArray[np.bool_]]  # alignment, cut off by the frame limit, letters


def blurred(path: NDArray[np.float64], tokens: int, sharpness: float) -> NDArray[np.float32]:
    """An alignment [F, T] whose attention is at path[f]."""
    weights = np.exp(-(((np.arange(tokens) - path[:, None]) * sharpness) ** 2) / 2)
    alignment: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return alignment


def damaged(draw: np.random.Generator, path: NDArray[np.float64], tokens: int) -> NDArray[np.float64]:
    """The path with a jump ahead, a return, a rest, an early end or a long one; or as it is."""
    at = int(draw.integers(len(path)))
    size = int(draw.integers(1, len(path) + 1))
    kind = draw.integers(7)
    parts = {
        1: [path[:at], path[at + size :]],
        2: [path[: at + 1], path[max(at - size, 0) :]],
        3: [path[:at], np.full(4 * size, path[at]), path[at:]],
        4: [path[:at]],
        5: [path, np.full(4 * size, tokens - 1)],
        6: [draw.uniform(0, tokens, len(path))],
    }
    return np.concatenate(parts.get(int(kind), [path]))


def cases(count: int) -> list[Case]:
    draw = np.random.default_rng(5)
    made: list[Case] = []
    for _ in range(count):
        tokens = int(draw.integers(1, 60))
        durations = draw.integers(1, 12, tokens)
        path = np.repeat(np.arange(tokens, dtype=np.float64), durations) + draw.normal(0, 0.4, durations.sum())
        alignment = blurred(damaged(draw, path, tokens), tokens, float(draw.choice((0.05, 0.3, 1.0, 4.0))))
        letters = draw.random(tokens) < draw.choice((0.0, 0.5, 0.8, 1.0))
        made.append((alignment, bool(draw.integers(2)), letters))
    return made


def write_cases(path: Path, given: Sequence[Case]) -> None:
    with path.open("wb") as file:
        for alignment, is_cut_off, letters in given:
            file.write(np.array([*alignment.shape, is_cut_off], np.int32).tobytes())
            file.write(letters.astype(np.uint8).tobytes() + np.ascontiguousarray(alignment).tobytes())


def judged_in_cpp(programs: Path, folder: Path, given: Sequence[Case]) -> list[str]:
    write_cases(folder / "cases", given)
    return check(programs, "judge", folder / "cases").decode().splitlines()


def judged_in_python(given: Sequence[Case]) -> list[str]:
    found = [(judge(a, is_cut_off, letters), len(letters)) for a, is_cut_off, letters in given]
    return [
        " ".join([str(severity(faults, tokens)), *(f"{BITS[f.reason]}:{f.first}:{f.stop}" for f in faults)])
        for faults, tokens in found
    ]


def test_judgement_equals_python(programs: Path, tmp_path: Path) -> None:
    given = cases(3000)
    expected = judged_in_python(given)
    assert judged_in_cpp(programs, tmp_path, given) == expected
    seen = [int(fault.split(":")[0]) for line in expected for fault in line.split()[1:]]
    assert all(seen.count(bit) > 30 for bit in BITS.values())  # each reason was found, and so was good speech
    assert expected.count("0") > 50


@pytest.mark.builds  # exports the demo voice
def test_judgement_of_real_alignments_equals_python(programs: Path, demo_voice: Path, tmp_path: Path) -> None:
    """Whole, and with frames left out, repeated and masked."""
    voice = Synthesizer.load(demo_voice, "onnxruntime", threads=1)
    draw, given = np.random.default_rng(6), []
    texts = ["Hello.", "We put the kettle on, and then nobody said another word.", "It was a bright cold day in April."]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utterances = [voice.say(text, seed).utterances[0] for text in texts for seed in range(3)]
    for utterance in utterances:
        letters = np.array(voice.front_end.letters(utterance.token_ids))
        for _ in range(40):
            start, stop = sorted(draw.integers(0, len(utterance.alignment), 2))
            masked = utterance.alignment.copy()
            masked[:, start * masked.shape[1] // len(masked) : stop * masked.shape[1] // len(masked)] = 0.0
            left_out = np.delete(utterance.alignment, np.s_[start:stop], 0)
            twice = np.concatenate([utterance.alignment[:stop], utterance.alignment[start:]])
            given += [(a, bool(draw.integers(2)), letters) for a in (utterance.alignment, masked, left_out, twice)]
    assert judged_in_cpp(programs, tmp_path, given) == judged_in_python(given)


@pytest.mark.parametrize(
    "text", [{"cleaners": ["english_cleaners"]}, {"cleaners": ["basic_cleaners"], "final_mark": "."}]
)
def test_words_equal_python(programs: Path, tiny_bundle: Path, tmp_path: Path, text: dict[str, Any]) -> None:
    """Of texts whose ids C++ and Python find alike, numbers and amounts among them."""
    bundle = bundle_with(tiny_bundle, tmp_path, **text)
    front_end = load_manifest(bundle).text.front_end()
    texts = [text for text in (*GOLDEN, *generated_texts(1500, seed=8)) if text.isascii()]
    answers = described(programs, bundle, texts)
    compared = 0
    for given, (ids, words) in zip(texts, answers, strict=True):
        if ids == front_end.lookup(given):
            assert words == [[word.text, word.first, word.stop] for word in front_end.words(given)], given
            compared += 1
    assert compared > 500


def described(programs: Path, bundle: Path, texts: Sequence[str]) -> list[tuple[list[int], list[Any]]]:
    """The ids and the words of each text."""
    command = [str(programs / "checks" / "checks"), "words", str(bundle)]
    given = b"".join(text.encode() + b"\0" for text in texts)
    done = subprocess.run(command, input=given, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [(answer["ids"], answer["words"]) for answer in map(json.loads, done.stdout.splitlines())]


@pytest.fixture(scope="module")
def measured_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice as if its sentences had been measured, so that its attention is judged."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("measured") / "voice"))
    ending = {"attention_patience": 6, "frames": 12, "frames_per_token": 1.5}
    edit_manifest(folder, lambda content: content["decoder"].update(ending=ending))
    return folder


TEXTS = ["I missed you.", "One, two. Three four five six seven! Eight nine ten.", "Speak."]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ((), SpeechOptions()),
        (("--retries", 0), SpeechOptions(retries=0)),
        (("--retries", 5), SpeechOptions(retries=5)),
        (("--gate-threshold", 0.9), SpeechOptions(gate_threshold=0.9)),
        (("--stream", 4), SpeechOptions(retries=0)),
    ],
)
def test_tries_and_warnings_equal_python(
    programs: Path, measured_bundle: Path, tmp_path: Path, text: str, flags: tuple[object, ...], options: SpeechOptions
) -> None:
    """The best try is kept, two more by default and none in a stream; each fault is told in Python's words."""
    voice = Synthesizer.load(measured_bundle, "onnxruntime", threads=1)
    for seed in range(4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SpeechWarning)
            expected = voice.say(text, seed, options)
        done = speak(programs, measured_bundle, tmp_path, "--text", text, "--seed", seed, *flags)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines() == [f"warning: {warning.message}" for warning in caught]
        got = wavfile.read(tmp_path / "out.wav")[1]
        assert got.shape == expected.samples.shape
        if "--stream" not in flags:
            np.testing.assert_array_equal(got, expected.samples)


def test_a_later_try_is_kept_only_if_it_is_better(programs: Path, measured_bundle: Path, tmp_path: Path) -> None:
    """Shows that the test above compares tries: with some seeds another than the first is kept, with others not."""
    kept = set()
    for seed in range(8):
        samples = []
        for retries in (0, 2):
            speak(programs, measured_bundle, tmp_path, "--text", TEXTS[1], "--seed", seed, "--retries", retries)
            samples.append(wavfile.read(tmp_path / "out.wav")[1])
        kept.add(len(samples[0]) == len(samples[1]) and bool(np.all(samples[0] == samples[1])))
    assert kept == {True, False}
