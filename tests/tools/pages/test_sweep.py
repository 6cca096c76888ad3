"""Sweeps, their fitted lines, and what a listener hears of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tacoglow.benchmarks.workload import Workload
from tacoglow.runtime.options import StreamOptions
from tacoglow.tools.pages import streaming, sweep, tables
from tacoglow.tools.pages.plots import save_plots


def test_a_sweep_of_a_bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works = [Workload(tokens=5, frames=4), Workload(tokens=9, frames=4), Workload(tokens=13, frames=4)]
    monkeypatch.setattr(sweep, "SWEEPS", {"tokens": works})
    monkeypatch.setattr(sweep, "NVIDIA", [Workload(2, 7, 4)])
    monkeypatch.setattr(sweep, "BASE", works[0])
    monkeypatch.setattr(sweep, "WINDOWS", (5, 9))
    report = sweep.measure(tiny_bundle, [("onnxruntime", "fp32")], 2, 2, lambda line: None)
    assert [row["tokens"] for row in report["rows"]] == [5, 9, 13]
    line = report["slopes"]["tokens"]["onnxruntime, fp32"]
    assert line["slope"] == pytest.approx(np.cov(line["x"], line["seconds"])[0, 1] / np.var(line["x"], ddof=1))
    residuals = np.subtract(line["seconds"], line["constant"] + line["slope"] * np.array(line["x"]))
    variance = np.sum(residuals**2) / (3 - 2) / (2 * np.var(line["x"], ddof=1))
    assert line["slope_error"] == pytest.approx(np.sqrt(variance))
    assert line["seconds"] == [row["seconds"]["min"] for row in report["rows"]]
    assert [row["new_frames"] for row in report["windows"]["onnxruntime, fp32"]] == [5, 9]
    assert "| onnxruntime, fp32 " in tables.sweep(report)
    assert save_plots({"sweep": report}, tmp_path) == [tmp_path / "growth.png"]


def test_a_sweep_takes_its_rounds_over_everything() -> None:
    """The round before them warms up."""
    log: list[str] = []

    def run_of(name: str, usual: float) -> Callable[[], float]:
        slow = iter([9.0, 1.0, 2.0, 1.0])

        def run() -> float:
            log.append(name)
            return usual * next(slow)

        return run

    first, second = run_of("first", 3.0), run_of("second", 5.0)
    seconds = sweep._time_in_rounds([first, second], 3, lambda line: None)
    assert log == ["first", "second"] * 4
    assert {first: [3.0, 6.0, 3.0], second: [5.0, 10.0, 5.0]} == seconds


def test_what_a_listener_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two segments, after 1 s and after 1.3 s: 0.1 s of audio, of which 0.05 s are silent, and 0.2 s of audio."""
    now = [0.0]

    def stream(text: str, segments: StreamOptions) -> Iterator[np.ndarray]:
        now[0] = 1.0
        yield np.repeat([0.0, 0.5], [50, 50]).astype(np.float32)
        now[0] = 1.3
        yield np.full(200, 0.5, np.float32)

    voice: Any = SimpleNamespace(manifest=SimpleNamespace(audio=SimpleNamespace(sampling_rate=1000)), stream=stream)
    monkeypatch.setattr("tacoglow.tools.pages.streaming.time.perf_counter", lambda: now[0])
    (row,) = streaming.measure_segments({"voice": voice}, 1)[:1]
    assert row["first_audio_seconds"] == 1.0
    assert row["audible_seconds"] == pytest.approx(1.03)  # 20 ms before it can be heard
    assert row["stalled_seconds"] == pytest.approx(0.2)
