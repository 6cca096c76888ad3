"""Writes flite_mels.npz: mels of sentences spoken by Flite's slt voice, which the demo voice was trained on.

    python tests/golden/make_flite_mels.py ljspeech_test.txt        # needs Debian's flite, and pocketsphinx

The transform is that of the demo voice's voice.json, in NumPy: magnitude STFT (periodic Hann, centred, reflect
padding), Slaney's mel scale and norm, log with a floor.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pocketsphinx
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import get_window, resample_poly

Array = NDArray[np.float64]
GOLDEN = Path(__file__).parent
VOICE = json.loads((GOLDEN.parents[1] / "models" / "demo" / "voice.json").read_text())
SENTENCES = 36
GAIN = 0.7
SILENCE_MARGIN = 0.05  # seconds of silence left at either end


def hz_to_mel(hz: Array) -> Array:
    """Convert to Slaney's scale: linear up to 1,000 Hz, logarithmic above, 27 steps per factor of 6.4."""
    return np.where(hz < 1000.0, hz * 3 / 200, 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) * 27 / np.log(6.4))


def mel_to_hz(mel: Array) -> Array:
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27))


def mel_filters(audio: dict[str, float]) -> Array:
    """Return triangular filters [M, bins] of equal area (Slaney's norm)."""
    bins = np.linspace(0, audio["sampling_rate"] / 2, int(audio["filter_length"]) // 2 + 1)
    ends = hz_to_mel(np.array([audio["mel_fmin"], audio["mel_fmax"]]))
    corners = mel_to_hz(np.linspace(ends[0], ends[1], int(audio["n_mel_channels"]) + 2))
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rise, fall = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters: Array = np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (right - left)
    return filters


def mel_spectrogram(samples: Array, audio: dict[str, float]) -> Array:
    size, hop = int(audio["filter_length"]), int(audio["hop_length"])
    padded = np.pad(samples, size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * get_window("hann", size, fftbins=True)
    mel: Array = np.log(np.maximum(mel_filters(audio) @ np.abs(np.fft.rfft(frames)).T, 1e-5))
    return mel


def speak(text: str) -> Array:
    """Synthesize `text` with Flite as for the demo voice's training data; returns samples at the voice's rate."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flite.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
        rate, samples = wavfile.read(path)
    resampled: Array = resample_poly(samples / 32768.0 * GAIN, VOICE["audio"]["sampling_rate"], rate)
    return resampled


def trim(samples: Array) -> Array:
    """Cut silence at the ends, but for a margin."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    margin = int(SILENCE_MARGIN * VOICE["audio"]["sampling_rate"])
    trimmed: Array = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    return trimmed


def known_words() -> set[str]:
    """Return the speech recognizer's vocabulary; it can transcribe no other words."""
    entries = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines()
    return {entry.split()[0].partition("(")[0] for entry in entries if entry.strip()}


def main(sentences_file: str) -> None:
    lines = Path(sentences_file).read_text(encoding="utf-8").splitlines()
    plain = [line for line in lines if re.fullmatch(r"[A-Za-z ,']+[.]", line) and 6 <= len(line.split()) <= 14]
    plain = [line for line in plain if set(re.findall(r"[a-z']+", line.lower())) <= known_words()]
    content: dict[str, NDArray[np.generic]] = {"sentences": np.array(plain[:SENTENCES])}
    for i, sentence in enumerate(plain[:SENTENCES]):
        content[f"mel_{i}"] = mel_spectrogram(trim(speak(sentence)), VOICE["audio"]).astype(np.float16)
    np.savez_compressed(GOLDEN / "flite_mels.npz", allow_pickle=False, **content)


if __name__ == "__main__":
    main(sys.argv[1])
