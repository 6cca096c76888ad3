"""Measures quality and speed of each precision and backend on complete sentences, which end by their gate.

The reference is PyTorch in float32 with the same noise. The decoder feeds on its own output, so rounding grows along a
sentence; PyTorch in float64 is measured too, to show the effect of rounding alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import stft

from ...benchmarks.pipelines import REFERENCE, BundlePipeline
from ...benchmarks.voices import Models
from ...export.parity import ParityReference
from ...models import Denoiser
from ...runtime.noise import Noise
from ...runtime.options import SpeechOptions
from .recognizer import Recognizer, word_errors, words
from .recordings import Recording

SENTENCES = (
    "No.",
    "Speak to me.",
    "Hello world, I missed you.",
    "The prisoner had nothing to deal with but wooden panels.",
    "It was a bright cold day in April, and the clocks were striking.",
    "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle.",
)
SEEDS = (0, 1)
WINDOW = 1024  # samples per window of the compared spectra
FLOOR = 1e-8  # least power of a spectrum, relative to the largest: 80 dB below it is inaudible

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Rendering:
    mel: Array  # [M, F]
    samples: Array  # [F * hop]
    vocoded: Array  # audio that its vocoder generates from the reference's mel
    seconds: float  # to compute mel and samples


def measure(
    models: Models,
    pipelines: Sequence[BundlePipeline],
    sentences: Sequence[str],
    recognizer: Recognizer | None,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return a row for PyTorch in float32, PyTorch in float64 and each pipeline, with one entry per sentence and seed.

    Word errors are None without a recognizer.
    """
    reference, manifest = PyTorchVoice(models, pipelines[0], torch.float32), pipelines[0].synthesizer.manifest
    voices: dict[tuple[str, str], Callable[[str, Noise, Array], Rendering]] = {
        (REFERENCE, "fp32"): reference,
        (REFERENCE, "fp64"): PyTorchVoice(models, pipelines[0], torch.float64),
        **{(pipeline.name, pipeline.precision): BundleVoice(pipeline) for pipeline in pipelines},
    }
    entries: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in voices}
    for text in sentences:
        progress(f"quality: {text}")
        for seed in SEEDS:
            expected = reference(text, Noise(seed), reference.mel(text, Noise(seed)))
            for key, voice in voices.items():
                got = voice(text, Noise(seed), expected.mel)
                heard = recognizer.words_of(got.samples, manifest.audio.sampling_rate) if recognizer else None
                entries[key].append({"text": text, "seed": seed} | _differences(got, expected, text, heard))
                entries[key][-1]["audio_seconds"] = len(got.samples) / manifest.audio.sampling_rate
    return [
        {"pipeline": name, "precision": precision, "summary": _summary(rows), "sentences": rows}
        for (name, precision), rows in entries.items()
    ]


def measure_recordings(
    recordings: Sequence[Recording], recognizer: Recognizer, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return the word errors of recordings. Raises RequestError for a file that cannot be read."""
    rows = []
    for recording in recordings:
        progress(f"recording: {recording.path}")
        expected, heard = words(recording.text), recognizer.words_of(*recording.samples())
        rows.append({"text": recording.text, "words": len(expected), "word_errors": word_errors(expected, heard)})
    return {"word_error_rate": _word_error_rate(rows), "sentences": rows}


class PyTorchVoice:
    """Renders texts with the PyTorch modules, Tacotron 2 in this dtype and WaveGlow in float32.

    pipeline: gives the text front end, frame limit and sigma.
    """

    def __init__(self, models: Models, pipeline: BundlePipeline, dtype: torch.dtype) -> None:
        self._reference = ParityReference(models.tacotron2, models.vocoder, Denoiser(models.vocoder))
        self._voice, self._dtype = pipeline.synthesizer, dtype

    @torch.inference_mode()
    def mel(self, text: str, noise: Noise) -> Array:
        """Return the mel [M, F]."""
        ids, limit = self._voice.front_end.encode(text), self._voice.manifest.decoder.max_frames
        mel, frames = self._reference.mel(ids, noise, limit, self._dtype)
        return np.ascontiguousarray(mel[0, :, :frames].numpy())

    @torch.inference_mode()
    def __call__(self, text: str, noise: Noise, reference_mel: Array) -> Rendering:
        begin = time.perf_counter()
        mel = self.mel(text, noise)
        samples = self._vocode(mel, noise)
        seconds = time.perf_counter() - begin
        return Rendering(mel, samples, self._vocode(reference_mel, noise), seconds)

    def _vocode(self, mel: Array, noise: Noise) -> Array:
        sigma = self._voice.manifest.vocoder.sigma
        samples: Array = self._reference.audio(torch.from_numpy(mel)[None], noise, sigma)[0].numpy()
        return samples


class BundleVoice:
    """Renders texts with a bundle on one backend."""

    def __init__(self, pipeline: BundlePipeline) -> None:
        self._voice = pipeline.synthesizer

    def __call__(self, text: str, noise: Noise, reference_mel: Array) -> Rendering:
        voice, timings = self._voice, dict[str, float]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # reaching the frame limit is part of the result
            utterance = voice.speak_ids(
                [voice.front_end.encode(text)], [noise], SpeechOptions(retries=0, attention_stop=False), timings
            )[0]
        vocoded = voice.vocoder.samples(reference_mel, noise, SpeechOptions().resolve(voice.manifest))
        return Rendering(utterance.mel, utterance.samples, vocoded, sum(timings.values()))


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
    """Return the log-spectral distance in dB over the length that both signals have.

    It is the root mean square over frequencies, averaged over time; 0 if a signal is shorter than one window.
    """
    length = min(len(samples), len(expected))
    if length < WINDOW:
        return 0.0
    spectra = [np.abs(stft(signal[:length], nperseg=WINDOW)[2]) ** 2 for signal in (samples, expected)]
    floor = FLOOR * spectra[1].max(initial=1e-20)
    difference = 10.0 * np.log10((spectra[0] + floor) / (spectra[1] + floor))
    return float(np.sqrt((difference**2).mean(0)).mean())


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "stop_frames_equal": sum(row["frames_more"] == 0 for row in rows) / len(rows),
        "mel_error_first_quarter": float(np.median([row["mel_error_first_quarter"] for row in rows])),
        "mel_error": float(np.median([row["mel_error"] for row in rows])),
        "audio_error": max(row["audio_error"] for row in rows),
        "log_spectral_distance_db": float(np.median([row["log_spectral_distance_db"] for row in rows])),
        "word_error_rate": _word_error_rate(rows),
        "rtf": sum(row["audio_seconds"] for row in rows) / sum(row["seconds"] for row in rows),
    }


def _word_error_rate(rows: list[dict[str, Any]]) -> float | None:
    heard = [row["word_errors"] for row in rows if row["word_errors"] is not None]
    return sum(heard) / sum(row["words"] for row in rows) if heard else None
