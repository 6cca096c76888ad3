"""Formats results as Markdown tables, for the terminal, the README and the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .compare import Change
from .pipelines import REFERENCE

Report = Mapping[str, Any]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table whose columns are as wide as their widest entry, omitting empty columns."""
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
        body.append([*start, *times, *rate, ratio(rows, row), f"{1e3 * first['p50']:.0f}" if first else "-"])
    return table(header.split("|"), body)


def ratio(rows: Sequence[Report], row: Report) -> str:
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


def stages(rows: Sequence[Report]) -> str:
    """Format one workload by stage: medians."""
    body = [
        [row["pipeline"], row["precision"], stage, f"{1e3 * seconds:.1f}"]
        for row in rows
        for stage, seconds in row.get("stages", {}).items()
    ]
    return table(["pipeline", "precision", "stage", "p50 ms"], body)


def speed(report: Report) -> str:
    """Format all workloads, each end to end and by stage."""
    parts = []
    for name in dict.fromkeys(workload(row) for row in report["speed"]):
        rows = [row for row in report["speed"] if workload(row) == name]
        parts += [
            f"{name}; milliseconds end to end, {report['runs']} runs",
            latency(rows),
            stages(rows),
        ]
    return "\n\n".join(parts)


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
