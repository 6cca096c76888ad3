"""What a stream's context costs and brings: signal-to-error ratio, time to first audio, time to the whole.

One long utterance, spoken whole and as a stream with ever more context, in turn. The error is the stream against the
whole on the same noise, in decibels; 60 dB is below what int16 speech lets one hear. With WaveGlow's whole receptive
field it is float32's rounding.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.synthesizer import Synthesizer

TEXT = (
    "The passage of the crowd, and the long delay at the gate, had made the old man tired and cold; he sat down upon "
    "the step, and waited there for the morning, while the lamps went out one by one."
)
CONTEXTS = (0, 2, 4, 8, 12, 16, 24, None)  # frames to either side; None is all of the receptive field

Array = NDArray[np.float32]


def measure(voice: Synthesizer, runs: int) -> dict[str, Any]:
    whole, _ = _timed_whole(voice)
    whole_seconds = [_timed_whole(voice)[1] for _ in range(runs)]
    rows = []
    for context in CONTEXTS:
        streams = [_timed_stream(voice, context) for _ in range(runs)]
        error = streams[0][0] - whole
        power, noise = float((whole.astype(np.float64) ** 2).mean()), float((error.astype(np.float64) ** 2).mean())
        rows.append(
            {
                "context_frames": context,
                "signal_to_error_db": float(10 * np.log10(power / max(noise, 1e-20))),
                "first_audio_seconds": statistics.median(first for _, first, _ in streams),
                "seconds": statistics.median(total for _, _, total in streams),
            }
        )
    settings = voice.manifest.vocoder
    return {
        "audio_seconds": len(whole) / voice.manifest.audio.sampling_rate,
        "receptive_field_frames": [settings.frames_before, settings.frames_after],
        "whole_seconds": statistics.median(whole_seconds),
        "streams": rows,
    }


def _timed_whole(voice: Synthesizer) -> tuple[Array, float]:
    begin = time.perf_counter()
    samples = voice.say(TEXT).samples
    return samples, time.perf_counter() - begin


def _timed_stream(voice: Synthesizer, context: int | None) -> tuple[Array, float, float]:
    """Samples, seconds to the first chunk, seconds to the last."""
    begin = time.perf_counter()
    stream = voice.stream(TEXT, context_frames=context)
    chunks = [next(stream)]
    first = time.perf_counter() - begin
    chunks += stream
    return np.concatenate(chunks), first, time.perf_counter() - begin
