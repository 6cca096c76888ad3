"""--compare separates changes of a pipeline from noise and from changes of the machine."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tacoglow.benchmarks.compare import changes, differing_conditions

RUNS = [1.00, 1.01, 0.99, 1.02, 0.98, 1.00]


def report(runs: list[float], rate: float = 1e11) -> dict[str, Any]:
    row = {"pipeline": "p", "precision": "fp32", "device": "CPU", "batch": 1, "tokens": 64, "frames": 150}
    versions = {"torch": "2"}
    return {
        "speed": [row | {"runs": runs}, row | {"pipeline": "bad", "refused": "mel"}],
        "ceilings": {"CPU, fp32": {"operations_per_second": rate, "bytes_per_second": 1e10}},
        "conditions": {"cpu": "x", "cores": 2, "threads": 2, "gpu": None, "versions": versions},
    }


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "same"), (1.04, "same"), (1.2, "slower"), (0.8, "faster")])
def test_verdicts(factor: float, verdict: str) -> None:
    (change,) = changes(report(RUNS), report([factor * run for run in RUNS]))
    assert change.verdict == verdict
    assert change.new / change.old == pytest.approx(factor)


def test_noise_is_not_a_change() -> None:
    """Pairs of samples from one wide distribution: medians differ, but only 1 % of the pairs should be flagged."""
    generator = np.random.default_rng(0)
    draws = generator.lognormal(0.0, 0.3, (200, 2, 10)).tolist()
    flagged = sum(changes(report(a), report(b))[0].verdict != "same" for a, b in draws)
    assert flagged <= 6  # of 200; P(more) < 1 % if each pair is flagged with 1 %


def test_slower_machine_is_not_a_change() -> None:
    slower = [1.2 * run for run in RUNS]
    assert changes(report(RUNS), report(slower, rate=0.75e11))[0].verdict == "same"
    assert changes(report(RUNS), report(slower, rate=0.99e11))[0].verdict == "slower"


def test_unmatched_workloads_are_omitted() -> None:
    old, new = report(RUNS), report(RUNS)
    new["speed"][0]["frames"] = 300
    assert changes(old, new) == []


def test_conditions() -> None:
    old = report(RUNS)
    new = copy.deepcopy(old)
    assert differing_conditions(old, new) == []
    new["conditions"]["versions"]["torch"] = "3"
    assert differing_conditions(old, new) == ["versions"]
