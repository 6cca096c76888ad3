"""The timing protocol: clocks, figures, the order of runs, and parity before timing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.benchmarks import speed, tables
from tacoglow.benchmarks.clock import EventClock, WallClock, summary
from tacoglow.benchmarks.parity import BenchReference
from tacoglow.benchmarks.pipelines import Pipeline, PipelineOutput
from tacoglow.benchmarks.pytorch import PyTorchPipeline
from tacoglow.benchmarks.voices import Models
from tacoglow.benchmarks.workload import Preset, Workload
from tacoglow.tests.benchmarks.conftest import ChangedPipeline, change_audio

WORK = Workload(batch=2, tokens=9, frames=12)


def test_wall_clock() -> None:
    times = iter([10.0, 12.0, 15.0])
    clock = WallClock(lambda: next(times))
    clock.start()
    clock.lap("encoder")
    clock.lap("decoder")
    assert clock.seconds() == {"encoder": 2.0, "decoder": 3.0}


class FakeStream:
    """A CUDA stream as far as events are concerned: work is enqueued, and done only after a synchronization."""

    def __init__(self) -> None:
        self.queued = self.waits = 0

    def work(self, milliseconds: int) -> None:
        self.queued += milliseconds


class FakeEvent:
    def __init__(self, stream: FakeStream) -> None:
        self.stream = stream

    def record(self) -> None:
        self.at = self.stream.queued

    def synchronize(self) -> None:
        self.stream.waits += 1

    def elapsed_time(self, other: FakeEvent) -> float:
        assert self.stream.waits, "read before a synchronization"
        return float(other.at - self.at)


def test_events_are_read_after_one_synchronization() -> None:
    stream = FakeStream()
    clock = EventClock(lambda: FakeEvent(stream))
    clock.start()
    stream.work(20)
    clock.lap("encoder")
    stream.work(300)
    clock.lap("decoder")
    assert stream.waits == 0
    assert clock.seconds() == pytest.approx({"encoder": 0.02, "decoder": 0.3})
    assert stream.waits == 1


def test_figures() -> None:
    figures = summary([4.0, 1.0, 2.0, 3.0, 5.0])
    assert figures["mean"] == 3.0
    assert figures["std"] == pytest.approx(2.5**0.5)
    assert (figures["min"], figures["p50"]) == (1.0, 3.0)
    assert figures["p90"] == pytest.approx(4.6)  # 0.6 of the way from the fourth to the fifth value
    assert figures["p99"] == pytest.approx(4.96)
    assert summary([2.0])["std"] == 0.0


class ScriptedPipeline(Pipeline):
    """Reports the given seconds, one per call, and logs its calls."""

    precision, device = "fp32", "CPU"

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self._seconds, self._log = name, iter(seconds), log

    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        self._log.append(self.name)
        return PipelineOutput(np.zeros((1, 1, 1), np.float32), None), {"decoder": next(self._seconds), "vocoder": 1.0}


def test_runs_are_interleaved_after_the_warm_up() -> None:
    log: list[str] = []
    pipelines = [ScriptedPipeline("a", [9.0, 9.0, 1.0, 3.0], log), ScriptedPipeline("b", [9.0, 9.0, 2.0, 2.0], log)]
    rows = speed.measure(pipelines, [WORK], None, Preset(runs=2, warmups=2), 250, 1000, lambda line: None)
    assert log == ["a", "a", "b", "b", "a", "b", "a", "b"]
    assert rows[0]["runs"] == [2.0, 4.0]
    assert rows[0]["stages"] == {"decoder": 2.0, "vocoder": 1.0}
    assert rows[0]["audio_seconds"] == 2 * 12 * 250 / 1000
    assert rows[0]["rtf"] == 6.0 / 3.0
    assert rows[0]["samples_per_second"] == 2000


def add_click(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    audio[-1, -1] += 0.01
    return audio


def insert_nan(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    audio[0, 5] = np.nan
    return audio


def drop_last_sample(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return audio[:, :-1]


@pytest.mark.parametrize("change", [add_click, insert_nan, drop_last_sample])
def test_pipeline_that_fails_parity_is_not_timed(models: Models, change: object) -> None:
    eager = PyTorchPipeline(models)
    changed, unchanged = ChangedPipeline(models, change_audio(change)), ChangedPipeline(models, lambda output: output)  # type: ignore[arg-type]
    preset = Preset(runs=3, warmups=1)
    rows = speed.measure(
        [eager, changed, unchanged], [WORK], BenchReference(eager, models), preset, 256, 16000, lambda line: None
    )
    assert "audio" in rows[1]["refused"]
    assert not {"seconds", "runs", "rtf"} & rows[1].keys()
    assert changed.calls == 1  # the warm-up, whose output was compared
    assert rows[2]["parity"]["error"] == 0.0
    assert unchanged.calls == 4


def test_half_precision_compares_the_first_quarter_of_the_mel(models: Models) -> None:
    eager = PyTorchPipeline(models)
    reference = BenchReference(eager, models)
    output = reference.output(WORK)
    late, early = output.mel.copy(), output.mel.copy()
    late[:, :, 3:] += 1.0
    early[:, :, :3] += 1.0
    assert reference.check(PipelineOutput(late, output.audio), WORK, "fp16").passes
    assert not reference.check(PipelineOutput(early, output.audio), WORK, "fp16").passes
    assert output.audio is not None
    assert not reference.check(PipelineOutput(output.mel, output.audio * np.float32(np.nan)), WORK, "fp16").passes


def test_a_table_has_no_column_without_an_entry() -> None:
    assert (
        tables.table(["a", "b", "c"], [["1", "-", "-"], ["2", "-", "3"]])
        == "| a | c |\n| - | - |\n| 1 | - |\n| 2 | 3 |"
    )
