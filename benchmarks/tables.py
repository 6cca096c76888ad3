"""Formats results as Markdown tables, for the terminal, the README and the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .compare import Change
from .pipelines import REFERENCE

Report = Mapping[str, Any]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table whose columns are as wide as their widest entry, without those in which no row has one."""
    filled = [i for i in range(len(header)) if not rows or any(row[i] not in ("", "-") for row in rows)]
    header, rows = [header[i] for i in filled], [[row[i] for i in filled] for row in rows]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [[entry.ljust(width) for entry, width in zip(row, widths, strict=True)] for row in (header, *rows)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def place(report: Report) -> str:
    """Describe machine and date of the measurement in one line."""
    conditions = report["conditions"]
    gpu = f"{conditions['gpu']['name']}, " if conditions["gpu"] else ""
    cpu = f"{conditions['threads']} threads on {conditions['cores']} cores of {conditions['cpu']}"
    return f"{gpu}{cpu}, load average {conditions['load_average_before']:.1f} before, {conditions['date']}"


def workload(row: Report) -> str:
    return f"batch {row['batch']}, {row['tokens']} tokens, {row['frames']} frames"


def latency(rows: Sequence[Report]) -> str:
    """Format one workload end to end, in milliseconds, with the columns of NVIDIA's published tables."""
    header = "pipeline|precision|device|mean|std|p50|p90|p95|p99|samples/s|RTF|x eager|first audio"
    body = []
    for row in rows:
        start = [row["pipeline"], row["precision"], row["device"]]
        if "refused" in row:
            body.append([*start, "not timed: " + row["refused"], *[""] * 9])
            continue
        times = [f"{1e3 * row['seconds'][name]:.0f}" for name in ("mean", "std", "p50", "p90", "p95", "p99")]
        full, first = "vocoder" in row["stages"], row["first_audio"]
        rate = [f"{row['samples_per_second']:,.0f}", f"{row['rtf']:.2f}"] if full else ["-", "-"]
        body.append([*start, *times, *rate, _ratio(rows, row), f"{1e3 * first['p50']:.0f}" if first else "-"])
    return table(header.split("|"), body)


def _ratio(rows: Sequence[Report], row: Report) -> str:
    """Return the speed-up over PyTorch eager in float32 on the same kind of device, CPU or GPU.

    A pipeline that ends with the mel is compared over the stages up to the mel.
    """
    sought = (REFERENCE, "fp32", row["device"] == "CPU", workload(row))
    keys = [(other["pipeline"], other["precision"], other["device"] == "CPU", workload(other)) for other in rows]
    reference = rows[keys.index(sought)] if sought in keys else None
    if reference is None or "refused" in reference:
        return "-"
    if "vocoder" in row["stages"]:
        return f"{reference['seconds']['p50'] / row['seconds']['p50']:.2f}"
    return f"{_acoustic_seconds(reference) / _acoustic_seconds(row):.2f} to the mel"


def _acoustic_seconds(row: Report) -> float:
    """Median seconds from token ids to the mel, the part that every pipeline has."""
    return float(sum(seconds for stage, seconds in row["stages"].items() if stage != "vocoder"))


def stages(rows: Sequence[Report], ceilings: Mapping[str, Mapping[str, float]]) -> str:
    """Format one workload by stage: medians, rates, and shares of the ceilings that the same run measured."""
    body = []
    for row in rows:
        for stage, seconds in row.get("stages", {}).items():
            entry = [row["pipeline"], row["precision"], stage, f"{1e3 * seconds:.1f}"]
            achieved, limits = row["achieved"].get(stage), ceilings.get(row["ceiling"])
            if achieved is None or limits is None:
                body.append([*entry, "-", "-", "-", "-"])
                continue
            for name, unit in (("operations_per_second", 1e9), ("bytes_per_second", 1e9)):
                share = f"{achieved[name] / limits[name]:.0%}" if name in limits else "-"
                entry += [f"{achieved[name] / unit:.1f}", share]
            body.append(entry)
    return table(["pipeline", "precision", "stage", "p50 ms", "Gop/s", "of ceiling", "GB/s", "of ceiling"], body)


def speed(report: Report) -> str:
    """Format all workloads, each end to end and by stage."""
    parts = []
    for name in dict.fromkeys(workload(row) for row in report["speed"]):
        rows = [row for row in report["speed"] if workload(row) == name]
        parts += [
            f"{name}; milliseconds end to end, {report['runs']} runs",
            latency(rows),
            stages(rows, report["ceilings"]),
        ]
    return "\n\n".join(parts)


def quality(report: Report) -> str:
    """Format quality and speed of every pipeline and precision, and the words of the speaker's recordings."""
    header = "pipeline|precision|same stop|mel, first quarter|mel, whole|vocoder's audio|log-spectral|words wrong|RTF"
    body = []
    for row in report["quality"]:
        figures = row["summary"]
        wrong = figures["word_error_rate"]
        body.append(
            [
                row["pipeline"],
                row["precision"],
                f"{figures['stop_frames_equal']:.0%}",
                f"{figures['mel_error_first_quarter']:.1e}",
                f"{figures['mel_error']:.1e}",
                f"{figures['audio_error']:.1e}",
                f"{figures['log_spectral_distance_db']:.2f} dB",
                "-" if wrong is None else f"{wrong:.0%}",
                f"{figures['rtf']:.2f}",
            ]
        )
    if "recordings" in report:
        body.append(["recordings", *"------", f"{report['recordings']['word_error_rate']:.0%}", "-"])
    return table(header.split("|"), body)


def sentences(rows: Sequence[Report]) -> str:
    """Format every sentence: difference in frames, mean errors of the mel's first quarter and of the full mel."""
    rows = [row for row in rows if (row["pipeline"], row["precision"]) != (REFERENCE, "fp32")]
    body = []
    for entries in zip(*(row["sentences"] for row in rows), strict=True):
        cells = [
            f"{entry['frames_more']:+d}; {entry['mel_error_first_quarter']:.1e}; {entry['mel_error']:.1e}"
            for entry in entries
        ]
        body.append([entries[0]["text"][:32], str(entries[0]["frames"]), *cells])
    return table(["text", "frames", *(f"{row['pipeline']}, {row['precision']}" for row in rows)], body)


def streaming(report: Report) -> str:
    """Format a stream's error and times by context, with unstreamed speech as the last row."""
    before, after = report["receptive_field_frames"]
    body = []
    for row in report["streams"]:
        context = row["context_frames"]
        name = f"all: {before} before, {after} after" if context is None else str(context)
        first, seconds = f"{1e3 * row['first_audio_seconds']:.0f} ms", f"{row['seconds']:.2f} s"
        body.append([name, f"{row['signal_to_error_db']:.0f} dB", first, seconds])
    whole = report["whole_seconds"]
    body.append(["(not streamed)", "-", f"{1e3 * whole:.0f} ms", f"{whole:.2f} s"])
    return table(["context frames", "signal to error", "first audio", "time to the whole"], body)


def readme(reports: Sequence[Report]) -> str:
    """Format one row per report, PyTorch eager beside ONNX Runtime in float32, below a line of their conditions."""
    body = []
    for report in reports:
        rows = {row["pipeline"]: row for row in report["speed"]}
        eager, ours = rows[REFERENCE], rows["tacoglow onnxruntime"]
        seconds = [row["seconds"]["p50"] for row in (eager, ours)]
        times = f"{seconds[0] / seconds[1]:.2f}"
        body.append([report["voice"], *(f"{median:.2f} s" for median in seconds), times])
    header = ["voice", "PyTorch eager", "ONNX Runtime", "times as fast"]
    return f"{_common_conditions(reports)}\n\n{table(header, body)}"


def pipelines(reports: Mapping[str, Report]) -> str:
    """Format one row per pipeline that speaks, end to end, with the name of its result, below their conditions."""
    body = []
    for name, report in reports.items():
        for row in report["speed"]:
            if "vocoder" in row.get("stages", ()):
                first = f"{1e3 * row['first_audio']['p50']:.0f} ms" if row["first_audio"] else "-"
                median, rate = f"{row['seconds']['p50']:.2f} s", f"{row['rtf']:.2f}"
                body.append([name, row["pipeline"], median, rate, _ratio(report["speed"], row), first])
    header = ["result", "pipeline", "median", "RTF", "times eager", "first audio"]
    return f"{_common_conditions(list(reports.values()))}\n\n{table(header, body)}"


def _common_conditions(reports: Sequence[Report]) -> str:
    """Describe workload and machine of the reports in one sentence. Raises ValueError if they are not the same."""
    facts = set()
    for report in reports:
        conditions = report["conditions"]
        versions = f"ONNX Runtime {conditions['versions']['onnxruntime']}, PyTorch {conditions['versions']['torch']}"
        machine = f"{conditions['threads']} threads on {conditions['cores']} cores of {conditions['cpu']}"
        for row in report["speed"]:
            speech = f"{row['audio_seconds']:.2f} s of speech, {workload(row)}"
            facts.add(f"{speech}; {machine}; {versions}; {conditions['date']}")
    if len(facts) != 1:
        raise ValueError(f"the reports have different conditions: {sorted(facts)}")
    load = max(report["conditions"]["load_average_before"] for report in reports)
    return f"Medians in float32 for {facts.pop()}; load average before, at most {load:.1f}."


def comparison(found: Sequence[Change], differing: Sequence[str], machine: float) -> str:
    """Format the verdicts, and below them how machine and conditions differ between the two results."""
    body = [
        [
            *(str(part) for part in change.key),
            f"{1e3 * change.old:.1f}",
            f"{1e3 * change.new:.1f}",
            f"{change.new / change.old - 1:+.1%}",
            f"{change.p:.3f}",
            change.verdict,
        ]
        for change in found
    ]
    header = "pipeline|precision|device|batch|tokens|frames|old p50 ms|new p50 ms|change|p|verdict".split("|")
    notes = f"the machine's own ceilings differ by {machine:.1%}"
    if differing:
        notes += f"; measured under different conditions: {', '.join(differing)}"
    return f"{table(header, body)}\n\n{notes}"
