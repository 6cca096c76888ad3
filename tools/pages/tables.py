"""Formats results as the tables of README.md and docs/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...benchmarks.pipelines import REFERENCE
from ...benchmarks.tables import ratio, table, workload

Report = Mapping[str, Any]
FEWER_BITS = ("tacoglow openvino", "int8 + bf16")  # pipeline and precision
SWEPT = {"tokens": "token", "frames": "frame", "batch": "item"}


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


def segments(rows: Sequence[Report]) -> str:
    """Format first audio, audible first audio and stalls by the size of a stream's segments."""
    body = [
        [
            row["voice"],
            f"{row['first']}, then {row['later']}",
            *(f"{1e3 * row[name]:.0f} ms" for name in ("first_audio_seconds", "audible_seconds", "stalled_seconds")),
        ]
        for row in rows
    ]
    return table(["backend, compute", "frames of segments", "first audio", "audible after", "stalled"], body)


def slope(line: Report) -> str:
    """Format a fitted line's slope in milliseconds, with its standard error."""
    rounded = round(1e3 * line["slope"], 2) + 0.0  # which makes -0.0 positive
    return f"{rounded:.2f} ± {1e3 * line['slope_error']:.2f} ms"


def sweep(report: Report) -> str:
    """Format the lines that were fitted to sweeps, NVIDIA's protocol, one thread, and memory: a row per pipeline."""
    ends = {workload(row): "protocol" for row in report["protocol"]}
    ends |= {f"{workload(row)}, one thread": "one_thread" for row in report["one_thread"]}
    body = []
    for i, (key, size) in enumerate(report["memory_bytes"].items()):
        slopes = [slope(lines[key]) for lines in report["slopes"].values()]
        own = [row for name in ("protocol", "one_thread") for row in report[name][i :: len(report["memory_bytes"])]]
        body.append([key, *slopes, *(f"{row['seconds']['min']:.2f} s" for row in own), f"{size / 2**20:.0f} MB"])
    return table(["backend, precision", *(f"per {SWEPT[name]}" for name in report["slopes"]), *ends, "memory"], body)


def readme(reports: Sequence[Report]) -> str:
    """Format one row per report, PyTorch beside tacoglow in float32 and with fewer bits, below their conditions."""
    body = []
    for report in reports:
        rows = {(row["pipeline"], row["precision"]): row for row in report["speed"] if "seconds" in row}
        eager = _median(rows[REFERENCE, "fp32"])
        peers = {
            f"{pipeline.removeprefix('PyTorch ')}": row for (pipeline, _), row in rows.items() if "PyTorch" in pipeline
        }
        fastest = min(peers, key=lambda name: _median(peers[name]))
        exact, fewer = _median(rows["tacoglow onnxruntime", "fp32"]), _median(rows[FEWER_BITS])
        best = f"{_median(peers[fastest]):.2f} s, {fastest}"
        times = f"{exact / fewer:.1f}"
        body.append([report["voice"], f"{eager:.2f} s", best, f"{exact:.2f} s", f"{fewer:.2f} s", times])
    header = ["voice", "PyTorch eager", "PyTorch's fastest", "float32", "fewer bits", "times float32"]
    return f"{_common_conditions(reports)}\n\n{table(header, body)}"


def _median(row: Report) -> float:
    return float(row["seconds"]["p50"])


def pipelines(reports: Mapping[str, Report]) -> str:
    """Format one row per pipeline that speaks, end to end, with the name of its result, below their conditions."""
    body = []
    for name, report in reports.items():
        for row in report["speed"]:
            if "vocoder" in row.get("stages", ()):
                first = f"{1e3 * row['first_audio']['p50']:.0f} ms" if row["first_audio"] else "-"
                median, rate = f"{_median(row):.2f} s", f"{row['rtf']:.2f}"
                start = [name.removesuffix(".json"), row["pipeline"], row["precision"]]
                body.append([*start, median, rate, ratio(report["speed"], row), first])
    header = ["result", "pipeline", "precision", "median", "RTF", "times eager", "first audio"]
    return f"{_common_conditions(list(reports.values()))}\n\n{table(header, body)}"


def _common_conditions(reports: Sequence[Report]) -> str:
    """Describe workload and machine of the reports in one sentence. Raises ValueError if they are not the same."""
    facts = set()
    for report in reports:
        conditions = report["conditions"]
        versions = f"ONNX Runtime {conditions['versions']['onnxruntime']}, "
        versions += f"OpenVINO {conditions['versions'].get('openvino', '-')}, PyTorch {conditions['versions']['torch']}"
        machine = f"{conditions['threads']} threads on {conditions['cores']} cores of {conditions['cpu']}"
        for row in report["speed"]:
            speech = f"{row['audio_seconds']:.2f} s of speech, {workload(row)}"
            facts.add(f"{speech}; {machine}; {versions}; {conditions['date']}")
    if len(facts) != 1:
        raise ValueError(f"the reports have different conditions: {sorted(facts)}")
    load = max(report["conditions"]["load_average_before"] for report in reports)
    return f"Medians for {facts.pop()}; load average before, at most {load:.1f}."
