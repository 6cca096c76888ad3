"""Compares two results, old and new: which medians have changed by more than noise.

A pipeline's time on a workload has changed if a two-sided Mann-Whitney U test over the runs of both results gives
p < 0.01, and the medians differ by more than 5 % and by more than the machine's ceilings do between the two results.
The test assumes nothing about the distribution of times. If both results have the same number of runs, at least five
are needed to reach that p.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIGNIFICANCE = 0.01
MIN_CHANGE = 0.05  # share of the old median; smaller changes are not reported, however significant
KEY = ("pipeline", "precision", "device", "batch", "tokens", "frames")
CONDITIONS = ("cpu", "cores", "threads", "gpu", "versions")

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    key: tuple[Any, ...]  # values of KEY
    old: float  # median seconds
    new: float  # median seconds
    p: float
    verdict: str  # "faster", "slower" or "same"


def changes(old: Report, new: Report) -> list[Change]:
    """Compare every pipeline and workload that both results have times for."""
    before = {_key(row): row for row in old["speed"] if "runs" in row}
    threshold = max(MIN_CHANGE, machine_change(old, new))
    return [_change(before[_key(row)], row, threshold) for row in new["speed"] if "runs" in row and _key(row) in before]


def machine_change(old: Report, new: Report) -> float:
    """The largest relative difference between ceilings that both results contain."""
    pairs = [
        (before[figure], after[figure])
        for name, after in new["ceilings"].items()
        if (before := old["ceilings"].get(name))
        for figure in after
    ]
    return max((max(pair) / min(pair) - 1.0 for pair in pairs), default=0.0)


def differing_conditions(old: Report, new: Report) -> list[str]:
    """Names of the conditions that differ between the two results."""
    before, after = old["conditions"], new["conditions"]
    return [name for name in CONDITIONS if before.get(name) != after.get(name)]


def _key(row: Report) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _change(before: Report, after: Report, threshold: float) -> Change:
    old, new = statistics.median(before["runs"]), statistics.median(after["runs"])
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(before["runs"], after["runs"]).pvalue)
    is_change = p < SIGNIFICANCE and abs(new - old) > threshold * old
    return Change(_key(after), old, new, p, ("slower" if new > old else "faster") if is_change else "same")
