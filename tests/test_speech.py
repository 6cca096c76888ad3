"""Intelligibility: pocketsphinx transcribes the speech of the exported pipeline. Takes minutes: make slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tacoglow import Synthesizer
from tacoglow.benchmarks.recognizer import Recognizer, word_errors, words
from tacoglow.benchmarks.voices import demo_models
from tacoglow.export import export_onnx
from tacoglow.export.parity import ParityReference
from tacoglow.models import Denoiser
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions

pytestmark = pytest.mark.slow

MELS_WORD_ERROR_LIMIT = 0.35
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(Path(__file__).parent / "golden" / "flite_mels.npz")


@pytest.fixture(scope="module")
def sentences(golden: Any) -> list[str]:
    return [str(sentence) for sentence in golden["sentences"]]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    bundle = tmp_path_factory.mktemp("speech") / "voice"
    demo = demo_models()
    export_onnx(demo.tacotron2, demo.vocoder, bundle, voice=demo.voice)
    return Synthesizer.load(bundle, "onnxruntime")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


def test_exported_pipeline_is_as_intelligible_as_pytorch(
    voice: Synthesizer, sentences: list[str], recognizer: Recognizer
) -> None:
    rate, hop = voice.manifest.audio.sampling_rate, voice.manifest.audio.hop_length
    demo = demo_models()
    reference = ParityReference(demo.tacotron2, demo.vocoder, Denoiser(demo.vocoder))
    errors = {"exported": 0, "pytorch": 0}
    with torch.inference_mode():
        for seed, sentence in enumerate(sentences):
            noise = Noise(seed)
            mel, frames = reference.mel(voice.front_end.encode(sentence), noise, voice.manifest.decoder.max_frames)
            audio = reference.audio(mel, noise, voice.manifest.vocoder.sigma)[0, : frames * hop].numpy()
            errors["pytorch"] += word_errors(words(sentence), recognizer.words_of(audio, rate))
            errors["exported"] += word_errors(
                words(sentence), recognizer.words_of(voice.say(sentence, seed).samples, rate)
            )
    count = sum(len(words(sentence)) for sentence in sentences)
    rates = {pipeline: f"{number / count:.1%}" for pipeline, number in errors.items()}
    print(f"word error rate over {len(sentences)} sentences, {count} words: {rates}")
    assert errors["exported"] <= errors["pytorch"]


def test_vocoder_is_intelligible_on_mels_of_the_source_voice(
    voice: Synthesizer, golden: Any, sentences: list[str], recognizer: Recognizer
) -> None:
    """The vocoder alone, on mels of Flite's slt (tests/golden/make_flite_mels.py), with a few noise seeds."""
    rate = voice.manifest.audio.sampling_rate
    errors = 0
    for i, sentence in enumerate(sentences):
        mel = golden[f"mel_{i}"].astype(np.float32)
        for seed in SEEDS:
            samples = voice.vocoder.samples(mel, Noise(seed), SpeechOptions().resolve(voice.manifest))
            errors += word_errors(words(sentence), recognizer.words_of(samples, rate))
    rate_of_errors = errors / (len(SEEDS) * sum(len(words(sentence)) for sentence in sentences))
    print(f"word error rate of the vocoder on Flite's mels: {rate_of_errors:.1%}")
    assert rate_of_errors < MELS_WORD_ERROR_LIMIT
