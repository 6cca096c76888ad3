"""What each precision and backend costs in quality, and what it brings in speed, on real sentences spoken to their end.

The yardstick is PyTorch in float32 on the same noise. The decoder feeds on itself, so rounding grows along a sentence;
PyTorch in float64 stands beside the others, for what rounding alone does to it.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import stft

from ..export.parity import Reference
from ..models import Denoiser
from ..runtime.noise import Noise
from ..runtime.options import SpeechOptions
from .pipelines import BundlePipeline
from .recogniser import Recogniser, word_errors, words
from .voices import Models

SENTENCES = (
    "No.",
    "Speak to me.",
    "Hello world, I missed you.",
    "The prisoner had nothing to deal with but wooden panels.",
    "It was a bright cold day in April, and the clocks were striking.",
    "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle.",
)
SEEDS = (0, 1)
WINDOW = 1024  # samples of the spectra that are compared
FLOOR = 1e-8  # of a spectrum's power, relative to its largest: 80 dB below it nothing is heard

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Rendering:
    mel: Array  # [M, F]
    samples: Array  # [F * hop]
    vocoded: Array  # what its vocoder alone makes of the yardstick's mel
    seconds: float


def measure(
    models: Models, pipelines: Sequence[BundlePipeline], sentences: Sequence[str], progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row for PyTorch's two precisions and for each pipeline, with an entry a sentence and seed."""
    yardstick, manifest = PyTorchVoice(models, pipelines[0], torch.float32), pipelines[0].synthesizer.manifest
    speakers: dict[tuple[str, str], Callable[[str, Noise, Array], Rendering]] = {
        ("PyTorch eager", "fp32"): yardstick,
        ("PyTorch eager", "fp64"): PyTorchVoice(models, pipelines[0], torch.float64),
        **{(pipeline.name, pipeline.precision): BundleVoice(pipeline) for pipeline in pipelines},
    }
    entries: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in speakers}
    ear = Recogniser() if importlib.util.find_spec("pocketsphinx") else None
    for text in sentences:
        progress(f"quality: {text}")
        for seed in SEEDS:
            expected = yardstick(text, Noise(seed), yardstick.mel(text, Noise(seed)))
            for key, speaker in speakers.items():
                got = speaker(text, Noise(seed), expected.mel)
                heard = ear.words_of(got.samples, manifest.audio.sampling_rate) if ear else None
                entries[key].append({"text": text, "seed": seed} | _differences(got, expected, text, heard))
                entries[key][-1]["audio_seconds"] = len(got.samples) / manifest.audio.sampling_rate
    return [
        {"pipeline": name, "precision": precision, "summary": _summary(rows), "sentences": rows}
        for (name, precision), rows in entries.items()
    ]


class PyTorchVoice:
    def __init__(self, models: Models, pipeline: BundlePipeline, dtype: torch.dtype) -> None:
        self._reference = Reference(models.tacotron2, models.vocoder, Denoiser(models.vocoder))
        self._voice, self._dtype = pipeline.synthesizer, dtype

    @torch.inference_mode()
    def mel(self, text: str, noise: Noise) -> Array:
        ids, limit = self._voice.front_end.encode(text), self._voice.manifest.decoder.max_frames
        mel, frames = self._reference.mel(ids, noise, limit, self._dtype)
        return np.ascontiguousarray(mel[0, :, :frames].numpy())

    @torch.inference_mode()
    def __call__(self, text: str, noise: Noise, other_mel: Array) -> Rendering:
        begin = time.perf_counter()
        mel = self.mel(text, noise)
        samples = self._vocoded(mel, noise)
        seconds = time.perf_counter() - begin
        return Rendering(mel, samples, self._vocoded(other_mel, noise), seconds)

    def _vocoded(self, mel: Array, noise: Noise) -> Array:
        sigma = self._voice.manifest.vocoder.sigma
        samples: Array = self._reference.audio(torch.from_numpy(mel)[None], noise, sigma)[0].numpy()
        return samples


class BundleVoice:
    def __init__(self, pipeline: BundlePipeline) -> None:
        self._voice = pipeline.synthesizer

    def __call__(self, text: str, noise: Noise, other_mel: Array) -> Rendering:
        voice, timings = self._voice, dict[str, float]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the frame limit is a result here
            spoken = voice.speak_ids([voice.front_end.encode(text)], [noise], SpeechOptions(), timings)[0]
        vocoded = voice.vocoder.samples(other_mel, noise, SpeechOptions().resolve(voice.manifest))
        return Rendering(spoken.mel, spoken.samples, vocoded, sum(timings.values()))


def _differences(got: Rendering, expected: Rendering, text: str, heard: list[str] | None) -> dict[str, Any]:
    frames = min(got.mel.shape[1], expected.mel.shape[1])
    error = np.abs(got.mel[:, :frames] - expected.mel[:, :frames])
    return {
        "frames": expected.mel.shape[1],
        "frames_more": got.mel.shape[1] - expected.mel.shape[1],
        "mel_error_first_quarter": float(error[:, : max(1, frames // 4)].mean()),
        "mel_error": float(error.mean()),
        "audio_error": float(np.abs(got.vocoded - expected.vocoded).max(initial=0.0)),
        "log_spectral_distance_db": log_spectral_distance(got.samples, expected.samples),
        "words": len(words(text)),
        "word_errors": None if heard is None else word_errors(words(text), heard),
        "seconds": got.seconds,
    }


def log_spectral_distance(samples: Array, expected: Array) -> float:
    """In dB, over what both have: the root mean square over frequencies, the mean over time."""
    length = min(len(samples), len(expected))
    if length < WINDOW:
        return 0.0
    spectra = [np.abs(stft(signal[:length], nperseg=WINDOW)[2]) ** 2 for signal in (samples, expected)]
    floor = FLOOR * spectra[1].max(initial=1e-20)
    difference = 10.0 * np.log10((spectra[0] + floor) / (spectra[1] + floor))
    return float(np.sqrt((difference**2).mean(0)).mean())


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    heard = [row["word_errors"] for row in rows if row["word_errors"] is not None]
    return {
        "stop_frames_equal": sum(row["frames_more"] == 0 for row in rows) / len(rows),
        "mel_error_first_quarter": float(np.median([row["mel_error_first_quarter"] for row in rows])),
        "mel_error": float(np.median([row["mel_error"] for row in rows])),
        "audio_error": max(row["audio_error"] for row in rows),
        "log_spectral_distance_db": float(np.median([row["log_spectral_distance_db"] for row in rows])),
        "word_error_rate": sum(heard) / sum(row["words"] for row in rows) if heard else None,
        "rtf": sum(row["audio_seconds"] for row in rows) / sum(row["seconds"] for row in rows),
    }
