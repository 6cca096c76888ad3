"""Summarizes repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERCENTILES = (50, 90, 95, 99)


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Return mean, sample standard deviation, minimum, and percentiles interpolated linearly between the runs."""
    values = np.asarray(seconds, np.float64)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    figures = {"mean": float(values.mean()), "std": spread, "min": float(values.min())}
    return figures | {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
