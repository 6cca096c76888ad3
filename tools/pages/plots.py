"""Plots a result with matplotlib: stages, a stream's context, how cost grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import RequestError
from .tables import slope

Report = Mapping[str, Any]


def save_plots(report: Report, folder: Path) -> list[Path]:
    """Write the plots that the report has figures for and return their paths.

    Raises RequestError if matplotlib is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    rows = [row for row in report.get("speed", []) if "seconds" in row]
    if rows:
        figures["stages"] = _stages(rows)
    if "streaming" in report:
        figures["streaming"] = _streaming(report["streaming"])
    if "sweep" in report:
        figures["growth"] = _growth(report["sweep"])
    paths = []
    for name, figure in figures.items():
        figure.tight_layout()
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
        _pyplot().close(figure)
    return paths


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise RequestError("the plots need matplotlib; install it with: pip install 'tacoglow[plot]'") from error
    return pyplot


def _name(row: Report) -> str:
    return f"{row['pipeline']}, {row['precision']}"


def _stages(rows: Sequence[Report]) -> Any:
    """Plot one bar per pipeline for the first workload; without those that take so long that no other bar is seen."""
    first = [row for row in rows if all(row[key] == rows[0][key] for key in ("batch", "tokens", "frames"))]
    first = [row for row in first if row["seconds"]["p50"] < 10 * rows[0]["seconds"]["p50"]]
    figure, axis = _pyplot().subplots(figsize=(9, 1.2 + 0.5 * len(first)))
    left = [0.0] * len(first)
    for stage in dict.fromkeys(stage for row in first for stage in row["stages"]):
        widths = [row["stages"].get(stage, 0.0) for row in first]
        axis.barh([_name(row) for row in first], widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axis.invert_yaxis()
    axis.set(xlabel=f"seconds: batch {first[0]['batch']}, {first[0]['tokens']} tokens, {first[0]['frames']} frames")
    axis.margins(x=0.25)
    axis.legend(loc="lower right")
    return figure


def _growth(report: Report) -> Any:
    """Plot the seconds of each sweep, with the line that was fitted to them."""
    figure, axes = _pyplot().subplots(2, 2, figsize=(11, 8))
    flat = axes.ravel()
    for axis, (name, slopes) in zip(flat, report["slopes"].items(), strict=False):
        for i, (pipeline, line) in enumerate(slopes.items()):
            xs, seconds = line["x"], line["seconds"]
            axis.plot(xs, seconds, f"C{i}o")
            fitted = [line["constant"] + line["slope"] * x for x in xs]
            axis.plot(xs, fitted, f"C{i}-", label=f"{pipeline}: {slope(line)} each")
        axis.set(xlabel=name, ylabel="seconds", ylim=(0, 1.1 * axis.dataLim.y1))
    windows = flat[len(report["slopes"])]
    for i, (pipeline, rows) in enumerate(report["windows"].items()):
        windows.plot(
            [row["frames"] for row in rows],
            [1e3 * row["seconds"] / row["new_frames"] for row in rows],
            f"C{i}o-",
            label=pipeline,
        )
    windows.set(xlabel="frames of the vocoder's window", ylabel="vocoder, ms per frame of speech", ylim=(0, None))
    for axis in flat[: len(report["slopes"]) + 1]:
        axis.legend(fontsize="small")
        axis.grid(alpha=0.3)
    return figure


def _streaming(report: Report) -> Any:
    rows, receptive_field = report["streams"], max(report["receptive_field_frames"])
    contexts = [receptive_field if row["context_frames"] is None else row["context_frames"] for row in rows]
    figure, axes = _pyplot().subplots(1, 3, figsize=(12, 3.6))
    axes[0].plot(contexts, [row["signal_to_error_db"] for row in rows], "o-")
    axes[0].set(ylabel="signal to error, dB")
    axes[1].plot(contexts, [1000 * row["first_audio_seconds"] for row in rows], "o-")
    axes[1].set(ylabel="time to first audio, ms", ylim=(0, None))
    axes[2].plot(contexts, [row["seconds"] for row in rows], "o-", label="streamed")
    axes[2].axhline(report["whole_seconds"], linestyle="--", color="grey", label="not streamed")
    axes[2].axhline(report["audio_seconds"], linestyle=":", color="black", label="length of the audio")
    axes[2].set(ylabel="total time, s", ylim=(0, None))
    axes[2].legend()
    for axis in axes:
        axis.set(xlabel="context, mel frames on each side")
        axis.grid(alpha=0.3)
    return figure
