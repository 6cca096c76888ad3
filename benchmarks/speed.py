"""The pipelines timed in turn, run by run, so that whatever disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .figures import summary
from .parity import Reference
from .pipelines import Pipeline
from .workload import Preset, Workload

Row = dict[str, Any]
Progress = Callable[[str], None]


def measure(
    pipelines: Sequence[Pipeline],
    workloads: Sequence[Workload],
    reference: Reference | None,
    preset: Preset,
    samples_per_frame: int,
    sampling_rate: int,
    progress: Progress,
) -> list[Row]:
    """A row for every pipeline and workload; one whose output fails parity has "refused" in place of figures."""
    rows = []
    for work in workloads:
        progress(f"{work}: comparing, then {preset.runs} runs")
        kept, refused = _those_that_agree(pipelines, work, reference, preset.warmups)
        runs: dict[Pipeline, list[dict[str, float]]] = {pipeline: [] for pipeline in kept}
        first_audio: dict[Pipeline, list[float]] = {pipeline: [] for pipeline in kept}
        for _ in range(preset.runs):
            for pipeline in kept:
                runs[pipeline].append(pipeline.speak(work)[1])
                first = pipeline.first_audio(work)
                if first is not None:
                    first_audio[pipeline].append(first)
        seconds = work.audio_seconds(samples_per_frame, sampling_rate)
        for pipeline in pipelines:
            row = _key(pipeline, work)
            if pipeline in refused:
                rows.append(row | {"refused": refused[pipeline]})
            else:
                rows.append(row | kept[pipeline] | _figures(runs[pipeline], first_audio[pipeline], seconds))
                rows[-1]["samples_per_second"] = rows[-1]["rtf"] * sampling_rate
    return rows


def _those_that_agree(
    pipelines: Sequence[Pipeline], work: Workload, reference: Reference | None, warmups: int
) -> tuple[dict[Pipeline, Row], dict[Pipeline, str]]:
    """The pipelines to time with their parity, and the others with the reason; all of them warm."""
    kept: dict[Pipeline, Row] = {}
    refused: dict[Pipeline, str] = {}
    for pipeline in pipelines:
        spoken = pipeline.speak(work)[0]
        for _ in range(warmups - 1):
            pipeline.speak(work)
        if reference is None:
            kept[pipeline] = {"parity": None}
            continue
        check = reference.check(spoken, work, pipeline.precision)
        if check.passes:
            kept[pipeline] = {"parity": vars(check)}
        else:
            refused[pipeline] = f"{check.what}: {check.error:.3g}, tolerance {check.tolerance:.3g}"
    return kept, refused


def _key(pipeline: Pipeline, work: Workload) -> Row:
    return {
        "pipeline": pipeline.name,
        "precision": pipeline.precision,
        "device": pipeline.device,
        **vars(work),
    }


def _figures(runs: Sequence[dict[str, float]], first_audio: Sequence[float], audio_seconds: float) -> Row:
    """RTF is audio seconds per compute second, of the mean run; null where a pipeline ends with the mel."""
    totals = [sum(run.values()) for run in runs]
    return {
        "audio_seconds": audio_seconds,
        "seconds": summary(totals),
        "runs": totals,
        "stages": {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]},
        "first_audio": summary(first_audio) if first_audio else None,
        "rtf": audio_seconds / statistics.mean(totals),
    }


def acoustic_seconds(row: Mapping[str, Any]) -> float:
    """Median seconds from token ids to the mel, the part that every pipeline has."""
    return float(sum(seconds for stage, seconds in row["stages"].items() if stage != "vocoder"))
