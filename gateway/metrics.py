"""Counters in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

from ..runtime.quality import Quality, Reason
from .voices import Voice

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST_AUDIO_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)  # seconds


class Metrics:
    """Counters of the gateway's answers. Used from the event loop only."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()  # (route, format, status)
        self._first_audio = [0] * (len(FIRST_AUDIO_BUCKETS) + 1)
        self._first_audio_sum = 0.0
        self._audio_seconds = 0.0
        self._frame_limit = 0
        self._faults: Counter[str] = Counter()  # by their reasons

    def request(self, route: str, audio_format: str, status: int) -> None:
        self._requests[route, audio_format, status] += 1

    def first_audio(self, seconds: float) -> None:
        self._first_audio[sum(seconds > bound for bound in FIRST_AUDIO_BUCKETS)] += 1
        self._first_audio_sum += seconds

    def spoken(self, seconds: float) -> None:
        self._audio_seconds += seconds

    def frame_limit(self) -> None:
        self._frame_limit += 1

    def faults(self, quality: Quality) -> None:
        self._faults.update(quality.reasons)

    def render(self, voices: Iterable[Voice]) -> str:
        """The page of /metrics."""
        lines = _family("requests_total", "counter", "Answered requests.")
        for (route, audio_format, status), count in sorted(self._requests.items()):
            lines.append(_sample("requests_total", count, route=route, format=audio_format, code=str(status)))
        lines += self._histogram()
        lines += _family("audio_seconds_total", "counter", "Seconds of finished speech.")
        lines.append(_sample("audio_seconds_total", self._audio_seconds))
        lines += _family("frame_limit_total", "counter", "Texts cut off at the frame limit.")
        lines.append(_sample("frame_limit_total", self._frame_limit))
        lines += _family("faults_total", "counter", "Texts with faults of this kind, by their attention.")
        lines += [_sample("faults_total", self._faults[reason], reason=reason) for reason in get_args(Reason)]
        states = [(voice.id, voice.scheduler.metrics()) for voice in voices]
        lines += _family("queue_depth", "gauge", "Requests that wait for their first decoder step.")
        lines += [_sample("queue_depth", state.queued, voice=voice) for voice, state in states]
        lines += _family("rows_active", "gauge", "Requests that are being spoken.")
        lines += [_sample("rows_active", state.active, voice=voice) for voice, state in states]
        lines += _family("cancelled_total", "counter", "Requests whose client left.")
        lines += [_sample("cancelled_total", state.cancelled, voice=voice) for voice, state in states]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "first_audio_seconds"
        lines, below = _family(name, "histogram", "Seconds from an accepted request to its first audio."), 0
        for bound, count in zip((*map(str, FIRST_AUDIO_BUCKETS), "+Inf"), self._first_audio, strict=True):
            below += count
            lines.append(_sample(f"{name}_bucket", below, le=bound))
        return [*lines, _sample(f"{name}_sum", self._first_audio_sum), _sample(f"{name}_count", below)]


def _family(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP tacoglow_{name} {help_text}", f"# TYPE tacoglow_{name} {kind}"]


def _sample(name: str, value: float, **labels: str) -> str:
    return f"tacoglow_{name}{_labels(labels)} {value:g}" if value < 1e6 else f"tacoglow_{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
