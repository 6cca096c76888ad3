"""What clients are told of an utterance: its words, its faults, and mel, alignment and gate in eight bits, small enough
to be sent and good enough to be drawn."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.output.audio import Utterance
from ..runtime.quality import SpeechFault
from .request import ParsedRequest
from .voices import Voice


@dataclass(frozen=True)
class Described:
    """What clients are told of an utterance, ready for JSON. It holds none of the utterance's arrays."""

    words: list[dict[str, Any]]  # empty if they are not wanted
    analysis: dict[str, Any] | None  # None: not wanted
    faults: tuple[SpeechFault, ...]


def describe(wanted: ParsedRequest, voice: Voice, utterance: Utterance) -> Described:
    """Tell of an utterance what the request asks for. Takes a while."""
    delay, words, analysis = wanted.settings.encoding.delay, [], None
    if wanted.timestamps:
        front_end = voice.facts.front_end
        assert front_end is not None  # of an utterance that was made in this process
        timed = utterance.times(front_end, voice.sampling_rate).words
        words = [{"word": each.text, "start_time": each.start + delay, "end_time": each.end + delay} for each in timed]
    if wanted.analysis:
        analysis = analyse(voice, utterance, delay)
    return Described(words, analysis, utterance.quality.faults)


def analyse(voice: Voice, utterance: Utterance, delay: float) -> dict[str, Any]:
    """JSON of an utterance: arrays are uint8 in base64, one frame after the other.

    `mel` [frames, mel_bands] goes from 0, its least value, to 255, its largest; `alignment` [frames, len(tokens)] and
    `gate` [frames] from 0 to 255, which is probability 1; `fired` is the gate of the frame that ended the speech and is
    not spoken, null if another limit ended it. Times are seconds from the start of all decoded audio, which the encoder
    delays by `delay`.
    """
    front_end = voice.facts.front_end
    assert front_end is not None  # of an utterance that was made in this process
    bands, frames = utterance.mel.shape
    start = utterance.start / voice.sampling_rate + delay
    least, largest = (float(utterance.mel.min()), float(utterance.mel.max())) if frames else (0.0, 0.0)
    return {
        "start_time": start,
        "end_time": start + len(utterance.samples) / voice.sampling_rate,
        "stop_reason": utterance.stop_reason,
        "tokens": [front_end.name(position) for position in utterance.token_ids],
        "frames": frames,
        "mel_bands": bands,
        "mel": _bytes((utterance.mel.T - least) / max(largest - least, 1e-6)),
        "alignment": _bytes(utterance.alignment),
        "gate": _bytes(utterance.gate),
        "fired": utterance.fired,
    }


def _bytes(values: NDArray[np.float32]) -> str:
    scaled = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return base64.b64encode(scaled.tobytes()).decode()
