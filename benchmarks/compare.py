"""Two results, old and new: which medians have changed by more than the noise.

A pipeline's time on a workload has changed where a two-sided Mann-Whitney U test over the runs of both results gives
p < 0.01, and the medians differ by more than 5 % and by more than the machine itself: its ceilings, measured in both
results. The test assumes nothing about how times are distributed, and five runs on either side are the fewest that can
pass it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import mannwhitneyu

SIGNIFICANCE = 0.01
LEAST_CHANGE = 0.05  # as a share of the old median: less is of no interest, however certain
KEY = ("pipeline", "precision", "device", "batch", "tokens", "frames")
CONDITIONS = ("cpu", "cores", "threads", "gpu", "versions")

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    key: tuple[Any, ...]
    old: float  # median seconds
    new: float
    p: float
    verdict: str  # "faster", "slower" or "same"


def changes(old: Report, new: Report) -> list[Change]:
    """Of every pipeline and workload that both results have figures of."""
    before = {_key(row): row for row in old["speed"] if "runs" in row}
    least = max(LEAST_CHANGE, machine_change(old, new))
    return [_change(before[_key(row)], row, least) for row in new["speed"] if "runs" in row and _key(row) in before]


def machine_change(old: Report, new: Report) -> float:
    """The largest share by which a ceiling that both have measured differs."""
    pairs = [
        (there[figure], here[figure])
        for where, here in new["ceilings"].items()
        if (there := old["ceilings"].get(where))
        for figure in here
    ]
    return max((max(pair) / min(pair) - 1.0 for pair in pairs), default=0.0)


def differing_conditions(old: Report, new: Report) -> list[str]:
    before, after = old["conditions"], new["conditions"]
    return [name for name in CONDITIONS if before.get(name) != after.get(name)]


def _key(row: Report) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _change(before: Report, after: Report, least: float) -> Change:
    old, new = statistics.median(before["runs"]), statistics.median(after["runs"])
    p = float(mannwhitneyu(before["runs"], after["runs"]).pvalue)
    beyond = p < SIGNIFICANCE and abs(new - old) > least * old
    return Change(_key(after), old, new, p, ("slower" if new > old else "faster") if beyond else "same")
