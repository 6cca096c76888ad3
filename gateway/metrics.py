"""Counters in Prometheus' text format."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from ..runtime.quality import Quality, Reason
from ..runtime.scheduling.metrics import SchedulerMetrics
from .voices import Voice

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)  # bounds of buckets
REAL_TIME_FACTORS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)


class Histogram:
    """One histogram per voice."""

    def __init__(self, name: str, help_text: str, bounds: Sequence[float]) -> None:
        self._name, self._help, self._bounds = name, help_text, bounds
        self._counts: dict[str, list[int]] = {}  # voice -> values in each bucket
        self._sums: defaultdict[str, float] = defaultdict(float)

    def note(self, voice: str, value: float) -> None:
        counts = self._counts.setdefault(voice, [0] * (len(self._bounds) + 1))
        counts[sum(value > bound for bound in self._bounds)] += 1
        self._sums[voice] += value

    def render(self) -> list[str]:
        lines = _family(self._name, "histogram", self._help)
        for voice, counts in self._counts.items():
            below = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                below += count
                lines.append(_sample(f"{self._name}_bucket", below, voice=voice, le=bound))
            lines.append(_sample(f"{self._name}_sum", self._sums[voice], voice=voice))
            lines.append(_sample(f"{self._name}_count", below, voice=voice))
        return lines


class Metrics:
    """Counters of the gateway's answers. Used from the event loop only."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()  # (route, format, status)
        self.first_audio = Histogram(
            "first_audio_seconds", "Seconds from an accepted request to its first audio.", SECONDS
        )
        self.audible_onset = Histogram(
            "audible_onset_seconds", "Seconds from an accepted stream to the first sound that can be heard.", SECONDS
        )
        self.real_time_factor = Histogram(
            "real_time_factor", "Seconds that a client waited for samples, per second of speech.", REAL_TIME_FACTORS
        )
        # By voice.
        self._audio_seconds: defaultdict[str, float] = defaultdict(float)
        self._underruns: defaultdict[str, float] = defaultdict(float)
        self._underrun_seconds: defaultdict[str, float] = defaultdict(float)
        self._cache_hits: Counter[str] = Counter()
        self._cache_misses: Counter[str] = Counter()
        self._frame_limit = 0
        self._faults: Counter[str] = Counter()  # by their reasons

    def request(self, route: str, audio_format: str, status: int) -> None:
        self._requests[route, audio_format, status] += 1

    def spoken(self, voice: str, seconds: float) -> None:
        self._audio_seconds[voice] += seconds

    def underrun(self, voice: str, seconds: float) -> None:
        """A stream's listener had nothing to play for so long."""
        self._underruns[voice] += 1
        self._underrun_seconds[voice] += seconds

    def looked_up(self, voice: str, is_found: bool) -> None:
        """The cache was asked for an answer."""
        (self._cache_hits if is_found else self._cache_misses)[voice] += 1

    def frame_limit(self) -> None:
        self._frame_limit += 1

    def faults(self, quality: Quality) -> None:
        self._faults.update(quality.reasons)

    def render(self, voices: Iterable[Voice]) -> str:
        """The page of /metrics."""
        lines = _family("requests_total", "counter", "Answered requests.")
        for (route, audio_format, status), count in sorted(self._requests.items()):
            lines.append(_sample("requests_total", count, route=route, format=audio_format, code=str(status)))
        for histogram in (self.first_audio, self.audible_onset, self.real_time_factor):
            lines += histogram.render()
        lines += _family("frame_limit_total", "counter", "Texts cut off at the frame limit.")
        lines.append(_sample("frame_limit_total", self._frame_limit))
        lines += _family("faults_total", "counter", "Texts with faults of this kind, by their attention.")
        lines += [_sample("faults_total", self._faults[reason], reason=reason) for reason in get_args(Reason)]
        return "\n".join([*lines, *self._render_voices(voices)]) + "\n"

    def _render_voices(self, voices: Iterable[Voice]) -> list[str]:
        schedulers = {voice.id: voice.scheduler for voice in voices}
        states = {name: SchedulerMetrics() if own is None else own.metrics() for name, own in schedulers.items()}
        families: tuple[tuple[str, str, str, Mapping[str, float]], ...] = (
            ("audio_seconds_total", "counter", "Seconds of finished speech.", self._audio_seconds),
            ("underruns_total", "counter", "Times that a stream's listener had nothing to play.", self._underruns),
            ("underrun_seconds_total", "counter", "Seconds of these times.", self._underrun_seconds),
            ("cache_hits_total", "counter", "Answers from the cache.", self._cache_hits),
            ("cache_misses_total", "counter", "Answers that were not in the cache.", self._cache_misses),
            (
                "queue_depth",
                "gauge",
                "Requests that wait for their first decoder step.",
                {name: state.queued for name, state in states.items()},
            ),
            (
                "rows_active",
                "gauge",
                "Requests that are being spoken.",
                {name: state.active for name, state in states.items()},
            ),
            (
                "cancelled_total",
                "counter",
                "Requests whose client left.",
                {name: state.cancelled for name, state in states.items()},
            ),
            (
                "voice_open",
                "gauge",
                "0: closed until the next request.",
                {name: int(own is not None) for name, own in schedulers.items()},
            ),
        )
        lines = []
        for name, kind, help_text, values in families:
            lines += _family(name, kind, help_text)
            lines += [_sample(name, values.get(voice, 0), voice=voice) for voice in {**schedulers, **values}]
        return lines


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
