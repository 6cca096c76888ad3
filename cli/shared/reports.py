"""The content of --json: facts about each text that was spoken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...runtime.output.audio import Audio
    from ...runtime.quality import Quality
    from ...runtime.stream import SpeechStream
    from ...runtime.synthesizer import Synthesizer

UNITS = {"seconds": "seconds of computing, by stage", "rtf": "seconds of audio per second of computing"}


def audio_report(text: str, audio: Audio, seed: int) -> dict[str, Any]:
    compute = sum(audio.timings.values())
    return {
        "text": text,
        "seed": seed,
        "audio_seconds": audio.seconds,
        "sampling_rate": audio.sampling_rate,
        "frames": [utterance.mel.shape[1] for utterance in audio.utterances],
        "stop_reason": audio.stop_reason,
        "stop_reasons": [utterance.stop_reason for utterance in audio.utterances],
        "faults": _faults(audio.quality),
        "seconds": {stage: round(seconds, 6) for stage, seconds in audio.timings.items()},
        "rtf": audio.seconds / compute if compute else None,
    }


def stream_report(text: str, stream: SpeechStream, seed: int, seconds: float) -> dict[str, Any]:
    """Describe a stream that has ended. seconds: how long it took, with what its reader made it wait."""
    audio_seconds = stream.position / stream.sampling_rate
    return {
        "text": text,
        "seed": seed,
        "audio_seconds": audio_seconds,
        "sampling_rate": stream.sampling_rate,
        "stop_reasons": stream.stop_reasons,
        "faults": _faults(stream.quality),
        "seconds": {"stream": round(seconds, 6)},
        "rtf": audio_seconds / seconds,
    }


def print_json(voice: Synthesizer, reports: list[dict[str, Any]], **more: Any) -> None:
    content = {"backend": voice.backend.name, "units": UNITS, "utterances": reports, **more}
    print(json.dumps(content, indent=1))


def _faults(quality: Quality) -> list[dict[str, Any]]:
    return [{"reason": fault.reason, "words": list(fault.words)} for fault in quality.faults]
