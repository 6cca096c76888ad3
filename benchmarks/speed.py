"""Times pipelines in turn, run by run, so that a disturbance of the machine affects all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .clock import summary
from .pipelines import Pipeline
from .workload import Preset, Workload

if TYPE_CHECKING:
    from .parity import BenchReference

GPU_WARMUPS = 3  # a shape is enqueued the first time, captured the second, and launched as a graph the third
Row = dict[str, Any]
Progress = Callable[[str], None]


def measure(
    pipelines: Sequence[Pipeline],
    workloads: Sequence[Workload],
    reference: BenchReference | None,
    preset: Preset,
    samples_per_frame: int,
    sampling_rate: int,
    progress: Progress,
) -> list[Row]:
    """Return a row for every pipeline and workload; if its output fails parity, with "refused" instead of times."""
    rows = []
    for work in workloads:
        progress(f"{work}: comparing, then {preset.runs} runs")
        accepted, rejected = _check_parity(pipelines, work, reference, preset.warmups)
        timed = [pipeline for pipeline in pipelines if pipeline.is_timed]
        runs, first_audio = _time_in_turn([pipeline for pipeline in timed if pipeline in accepted], work, preset.runs)
        seconds = work.audio_seconds(samples_per_frame, sampling_rate)
        for pipeline in timed:
            row = _describe(pipeline, work)
            if pipeline in rejected:
                rows.append(row | {"refused": rejected[pipeline]})
            else:
                rows.append(row | accepted[pipeline] | _figures(runs[pipeline], first_audio[pipeline], seconds))
                rows[-1]["samples_per_second"] = rows[-1]["rtf"] * sampling_rate
    return rows


def _check_parity(
    pipelines: Sequence[Pipeline], work: Workload, reference: BenchReference | None, warmups: int
) -> tuple[dict[Pipeline, Row], dict[Pipeline, str]]:
    """Warm all pipelines up; return those to time, with their parity, and the others, with the reason."""
    accepted: dict[Pipeline, Row] = {}
    rejected: dict[Pipeline, str] = {}
    for pipeline in pipelines:
        output = pipeline.synthesize(work)[0]
        for _ in range((warmups if pipeline.device == "CPU" else max(warmups, GPU_WARMUPS)) - 1):
            pipeline.synthesize(work)
        if reference is None:
            accepted[pipeline] = {"parity": None}
            continue
        check = reference.check(output, work, pipeline.precision)
        if check.passes:
            accepted[pipeline] = {"parity": vars(check)}
        else:
            rejected[pipeline] = f"{check.what}: {check.error:.3g}, tolerance {check.tolerance:.3g}"
    return accepted, rejected


def _time_in_turn(
    pipelines: Iterable[Pipeline], work: Workload, count: int
) -> tuple[dict[Pipeline, list[dict[str, float]]], dict[Pipeline, list[float]]]:
    """Return, per pipeline, the seconds of every run by stage, and the seconds to first audio of its streams."""
    pipelines = list(pipelines)
    runs: dict[Pipeline, list[dict[str, float]]] = {pipeline: [] for pipeline in pipelines}
    first_audio: dict[Pipeline, list[float]] = {pipeline: [] for pipeline in pipelines}
    for _ in range(count):
        for pipeline in pipelines:
            runs[pipeline].append(pipeline.synthesize(work)[1])
            first = pipeline.first_audio(work)
            if first is not None:
                first_audio[pipeline].append(first)
    return runs, first_audio


def _describe(pipeline: Pipeline, work: Workload) -> Row:
    return {
        "pipeline": pipeline.name,
        "precision": pipeline.precision,
        "device": pipeline.device,
        **vars(work),
    }


def _figures(runs: Sequence[dict[str, float]], first_audio: Sequence[float], audio_seconds: float) -> Row:
    """Summarize the runs; "rtf" is audio seconds per compute second of the mean run."""
    totals = [sum(run.values()) for run in runs]
    return {
        "audio_seconds": audio_seconds,
        "seconds": summary(totals),
        "runs": totals,
        "stages": {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]},
        "first_audio": summary(first_audio) if first_audio else None,
        "rtf": audio_seconds / statistics.mean(totals),
    }
