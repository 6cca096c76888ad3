"""Summarizes, prints and plots the measurements of tools/triton/load.py."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...benchmarks.clock import summary as figures
from ..client_result import ClientResult, Kind

REAL_TIME_SHARE = 0.95  # share of real-time streams at which a rate counts as sustained


def summary(kind: Kind, rate: float, results: Sequence[ClientResult]) -> dict[str, Any]:
    """Return the report's row for one kind of request at one rate (requests per second)."""
    served = [result for result in results if result.error is None and result.arrivals]
    row: dict[str, Any] = {
        "kind": kind,
        "rate": rate,
        "requests": len(results),
        "errors": sorted({result.error for result in results if result.error is not None}),
        "failed": len(results) - len(served),
    }
    if served:
        row["latency_seconds"] = figures([result.latency for result in served])
        row["first_audio_seconds"] = figures([result.arrivals[0][0] for result in served])
        row["audio_seconds_a_second"] = rate * statistics.mean(result.audio_seconds for result in served)
    if served and kind == "stream":
        row["real_time_share"] = sum(result.is_real_time for result in served) / len(results)
    return row


def real_time_streams_sustained(rows: Sequence[dict[str, Any]]) -> float:
    """Return the most streams that are being heard at once at a sustained rate, 0 if no rate is sustained.

    By Little's law, the streams heard at once are the audio seconds per second.
    """
    sustained = [row["audio_seconds_a_second"] for row in rows if row.get("real_time_share", 0.0) >= REAL_TIME_SHARE]
    return max(sustained, default=0.0)


def print_row(row: dict[str, Any]) -> None:
    line = f"{row['kind']:6} {row['rate']:5.2f} per second  {row['requests']:4} requests  {row['failed']} failed"
    if "latency_seconds" in row:
        latency, first = row["latency_seconds"], row["first_audio_seconds"]
        line += "  latency p50 {p50:.2f} p95 {p95:.2f} p99 {p99:.2f} s".format(**latency)
        line += f"  first audio p50 {first['p50']:.2f} p95 {first['p95']:.2f} s"
    if "real_time_share" in row:
        line += f"  real-time {row['real_time_share']:.0%}"
    print(line, *row["errors"], flush=True)


def save_plot(report: dict[str, Any], path: Path) -> None:
    """Plot latency and time to first audio over the rate; needs matplotlib."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), sharex=True)
    for axis, key, title in (
        (axes[0], "latency_seconds", "latency, s"),
        (axes[1], "first_audio_seconds", "time to first audio, s"),
    ):
        for kind, colour in (("whole", "tab:blue"), ("stream", "tab:orange")):
            rows = [row for row in report["load"] if row["kind"] == kind and key in row]
            rates = [row["rate"] for row in rows]
            for level, style in (("p50", "o-"), ("p95", "s--"), ("p99", "^:")):
                values = [row[key][level] for row in rows]
                axis.plot(rates, values, style, color=colour, label=f"{kind}, {level}", markersize=4)
        axis.set(xlabel="requests per second", ylabel=title, yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
