"""Measures how a stream's context affects signal-to-error ratio, time to first audio and total time.

One long utterance is synthesized unstreamed, and then as a stream with more and more context. The error is the
difference between streamed and unstreamed audio with the same noise, and is reported as a ratio in decibels. At 60 dB
the error is inaudible in int16 speech. With WaveGlow's full receptive field as context, only float32 rounding is left.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gateway.playback import Playback
from ...runtime.options import StreamOptions
from ...runtime.synthesizer import Synthesizer

TEXT = (
    "The passage of the crowd, and the long delay at the gate, had made the old man tired and cold; he sat down upon "
    "the step, and waited there for the morning, while the lamps went out one by one."
)
SEGMENTS = ((4, 64), (8, 32), (8, 64), (16, 32), (16, 64), (24, 64))  # frames of the first segment, and of later ones
CONTEXTS = (0, 2, 4, 8, 12, 16, 24, None)  # mel frames on each side; None: the full receptive field

Array = NDArray[np.float32]


def measure(voice: Synthesizer, runs: int) -> dict[str, Any]:
    """Return medians of this many runs, unstreamed and for each context."""
    unstreamed, _ = _time_unstreamed(voice)
    unstreamed_seconds = [_time_unstreamed(voice)[1] for _ in range(runs)]
    rows = []
    for context in CONTEXTS:
        streams = [_time_stream(voice, context) for _ in range(runs)]
        error = streams[0][0] - unstreamed
        power, noise = float((unstreamed.astype(np.float64) ** 2).mean()), float((error.astype(np.float64) ** 2).mean())
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
        "audio_seconds": len(unstreamed) / voice.manifest.audio.sampling_rate,
        "receptive_field_frames": [settings.frames_before, settings.frames_after],
        "whole_seconds": statistics.median(unstreamed_seconds),
        "streams": rows,
    }


def _time_unstreamed(voice: Synthesizer) -> tuple[Array, float]:
    """Return unstreamed samples, and the seconds that they took."""
    begin = time.perf_counter()
    samples = voice.say(TEXT, retries=0).samples
    return samples, time.perf_counter() - begin


def _time_stream(voice: Synthesizer, context: int | None) -> tuple[Array, float, float]:
    """Return samples, seconds to the first segment, seconds to the last."""
    begin = time.perf_counter()
    stream = voice.stream(TEXT, segments=StreamOptions(context_frames=context))
    segments = [next(stream)]
    first = time.perf_counter() - begin
    segments += stream
    return np.concatenate(segments), first, time.perf_counter() - begin


def measure_segments(voices: Mapping[str, Synthesizer], runs: int) -> list[dict[str, Any]]:
    """Return a row per voice and size of segments, medians: first audio, the first that can be heard, and stalls.

    A listener plays each segment as soon as it is there and the one before has ended. What can be heard begins after
    the silence at the beginning of the speech; a stall is time in which the listener has nothing to play.
    """
    rows = list[dict[str, Any]]()
    for _ in range(runs):
        for name, voice in voices.items():
            for first, later in SEGMENTS:
                heard = _listen(voice, StreamOptions(first_segment_frames=first, segment_frames=later))
                rows.append({"voice": name, "first": first, "later": later} | heard)
    return [
        {"voice": name, "first": first, "later": later}
        | {
            figure: statistics.median(
                row[figure] for row in rows if (row["voice"], row["first"], row["later"]) == (name, first, later)
            )
            for figure in ("first_audio_seconds", "audible_seconds", "stalled_seconds")
        }
        for name in voices
        for first, later in SEGMENTS
    ]


def _listen(voice: Synthesizer, segments: StreamOptions) -> dict[str, float]:
    begin = time.perf_counter()
    playback = Playback(voice.manifest.audio.sampling_rate, 1.0, begin)
    first = audible = math.nan
    stalled = 0.0
    for samples in voice.stream(TEXT, segments=segments):
        now = time.perf_counter()
        first = now - begin if math.isnan(first) else first
        stalled += playback.stalled(now)
        onset = playback.play(samples, now)
        audible = audible if onset is None else onset
    return {"first_audio_seconds": first, "audible_seconds": audible, "stalled_seconds": stalled}
