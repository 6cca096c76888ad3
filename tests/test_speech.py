"""Speech checked as speech: pocketsphinx transcribes what the exported pipeline says. Minutes long: make slow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from tacoglow import Synthesizer
from tacoglow.export import export_onnx
from tacoglow.export.parity import Reference
from tacoglow.export.voice import DEMO_FOLDER, read_voice_file
from tacoglow.models import Denoiser, load_tacotron2, load_waveglow
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions

pytestmark = pytest.mark.slow

ENGINE_RATE = 16_000  # Hz
PADDING = 0.2  # seconds of silence that the recogniser wants at either end
MELS_WORD_ERROR_LIMIT = 0.35
SEEDS = (0, 1, 2)

Samples = NDArray[np.float32]
Transcribe = Callable[[Samples, int], list[str]]


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(Path(__file__).parent / "golden" / "flite_mels.npz")


@pytest.fixture(scope="module")
def sentences(golden: Any) -> list[str]:
    return [str(sentence) for sentence in golden["sentences"]]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    bundle = tmp_path_factory.mktemp("speech") / "voice"
    models = load_tacotron2(DEMO_FOLDER / "tacotron2.pt"), load_waveglow(DEMO_FOLDER / "waveglow.pt")
    export_onnx(*models, bundle, voice=read_voice_file(DEMO_FOLDER / "voice.json"))
    return Synthesizer.load(bundle, "onnxruntime")


@pytest.fixture(scope="module")
def transcribe() -> Transcribe:
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL")

    def words_of(samples: Samples, rate: int) -> list[str]:
        common = np.gcd(ENGINE_RATE, rate)
        heard = resample_poly(samples.astype(np.float64), ENGINE_RATE // common, rate // common)
        heard = np.pad(heard, int(PADDING * ENGINE_RATE))
        decoder.start_utt()
        decoder.process_raw((np.clip(heard, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp().hypstr.split() if decoder.hyp() else []

    return words_of


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_errors(expected: list[str], heard: list[str]) -> int:
    """Levenshtein's distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        previous, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


def test_the_exported_pipeline_is_understood_no_worse_than_pytorch(
    voice: Synthesizer, sentences: list[str], transcribe: Transcribe
) -> None:
    rate, hop = voice.manifest.audio.sampling_rate, voice.manifest.audio.hop_length
    tacotron2, waveglow = load_tacotron2(DEMO_FOLDER / "tacotron2.pt"), load_waveglow(DEMO_FOLDER / "waveglow.pt")
    reference = Reference(tacotron2, waveglow, Denoiser(waveglow))
    errors = {"exported": 0, "pytorch": 0}
    with torch.inference_mode():
        for seed, sentence in enumerate(sentences):
            noise = Noise(seed)
            mel, frames = reference.mel(voice.front_end.encode(sentence), noise, voice.manifest.decoder.max_frames)
            audio = reference.audio(mel, noise, voice.manifest.vocoder.sigma)[0, : frames * hop].numpy()
            errors["pytorch"] += word_errors(words(sentence), transcribe(audio, rate))
            errors["exported"] += word_errors(words(sentence), transcribe(voice.say(sentence, seed).samples, rate))
    count = sum(len(words(sentence)) for sentence in sentences)
    rates = {who: f"{number / count:.1%}" for who, number in errors.items()}
    print(f"word error rate over {len(sentences)} sentences, {count} words: {rates}")
    assert errors["exported"] <= errors["pytorch"]


def test_mels_of_the_source_voice_are_understood(
    voice: Synthesizer, golden: Any, sentences: list[str], transcribe: Transcribe
) -> None:
    """The vocoder alone, on mels of Flite's slt (tests/golden/make_flite_mels.py), over a few seeds of its noise."""
    rate = voice.manifest.audio.sampling_rate
    errors = 0
    for i, sentence in enumerate(sentences):
        mel = golden[f"mel_{i}"].astype(np.float32)
        for seed in SEEDS:
            samples = voice.vocoder.samples(mel, Noise(seed), SpeechOptions())
            errors += word_errors(words(sentence), transcribe(samples, rate))
    rate_of_errors = errors / (len(SEEDS) * sum(len(words(sentence)) for sentence in sentences))
    print(f"word error rate of the vocoder on Flite's mels: {rate_of_errors:.1%}")
    assert rate_of_errors < MELS_WORD_ERROR_LIMIT
