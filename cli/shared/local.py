"""Speaks a text with a voice of this machine, for `tacoglow say`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from .progress import SpeechProgress
from .reports import UNITS, audio_report, stream_report

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.synthesizer import Synthesizer
    from .outputs import Outputs


def speak_text(
    voice: Synthesizer, text: str, seed: int, options: SpeechOptions, outputs: Outputs, has_bar: bool
) -> dict[str, Any]:
    """Speak one text; returns its report."""
    from ...text import warn_dropped, warn_of_remarks

    split = voice.split(text, options)
    warn_dropped(split.dropped, stacklevel=2)
    warn_of_remarks(split.remarks, stacklevel=2)
    rate, pieces = voice.manifest.audio.sampling_rate, len(split.pieces)
    with SpeechProgress(pieces, is_shown=has_bar and pieces > 1) as bar:
        spoken = voice.say_each([split], [seed], options, lambda done: bar.add(len(done.samples) / rate))
        audio = dict(spoken)[0]
    path = outputs.save(audio, voice=voice.manifest, gate_threshold=options.gate_threshold)
    return audio_report(text, path, audio, seed)


def stream_text(
    voice: Synthesizer, text: str, seed: int, options: SpeechOptions, outputs: Outputs, timestamps: bool
) -> dict[str, Any]:
    """Speak one text into a file or pipe that grows; returns its report."""
    start = time.perf_counter()
    segments = voice.stream(text, seed, options=options, timestamps=timestamps)
    with outputs.grow(voice.manifest.audio.sampling_rate) as sink:
        sink.write_all(segments)
    outputs.save_times(segments.words, segments.characters, segments.sampling_rate)
    return stream_report(text, outputs.path, segments, seed, time.perf_counter() - start)


def print_json(voice: Synthesizer, reports: list[dict[str, Any]], **more: Any) -> None:
    content = {"backend": voice.backend.name, "units": UNITS, "utterances": reports, **more}
    print(json.dumps(content, indent=1))
