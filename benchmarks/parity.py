"""Whether a pipeline speaks what the reference speaks: what does not is not timed.

The tolerances are the exporter's. In float32 mel and audio are compared to the end; the decoder feeds on itself, so
where rounding grows beyond the tolerance, it may grow to DRIFT times what PyTorch's own float32 drifts from float64.
Half precision ends as another rendering: there the mean error of the mel's first quarter is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..export.parity import DRIFT, TOLERANCES
from .pipelines import Pipeline
from .voices import Models
from .workload import Spoken, Workload

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    error: float
    tolerance: float
    what: str  # the tensor and the norm

    @property
    def passes(self) -> bool:
        return self.error <= self.tolerance  # a NaN does not


class Reference:
    """PyTorch in float32 on the CPU, and its distance from float64 where that has to be known."""

    def __init__(self, pipeline: Pipeline, models: Models) -> None:
        self._pipeline, self._models = pipeline, models
        self._spoken: dict[Workload, Spoken] = {}
        self._drifts: dict[Workload, dict[str, float]] = {}

    def spoken(self, work: Workload) -> Spoken:
        if work not in self._spoken:
            self._spoken[work] = self._pipeline.speak(work)[0]
        return self._spoken[work]

    def drift(self, work: Workload, name: str) -> float:
        """The largest error of the reference's own mel or audio."""
        if work not in self._drifts:
            from .pytorch import PyTorchPipeline

            exact, own = PyTorchPipeline(self._models, precision="fp64").speak(work)[0], self.spoken(work)
            self._drifts[work] = {key: _largest(getattr(exact, key), getattr(own, key)) for key in ("mel", "audio")}
        return self._drifts[work][name]

    def check(self, got: Spoken, work: Workload, precision: str) -> Check:
        """The comparison that fails, or the one that comes nearest to it."""
        expected, tolerance = self.spoken(work), TOLERANCES[precision]
        if tolerance.pipeline is None:
            quarter = max(1, work.frames // 4)
            first = expected.mel[:, :, :quarter]
            error = float(np.abs(got.mel[:, :, :quarter] - first).mean())
            checks = [Check(error, tolerance.graph * _scale(first), "mean error of the mel's first quarter")]
            if got.audio is not None:
                silent = 0.0 if np.isfinite(got.audio).all() else np.inf
                checks.append(Check(silent, 0.0, "samples that are no numbers"))
        else:
            checks = [self._whole(name, got, expected, work, tolerance.pipeline) for name in ("mel", "audio")]
        return max(checks, key=lambda check: (not check.passes, check.error / max(check.tolerance, 1e-30)))

    def _whole(self, name: str, got: Spoken, expected: Spoken, work: Workload, tolerance: float) -> Check:
        ours, theirs = getattr(got, name), getattr(expected, name)
        if ours is None:
            return Check(0.0, tolerance, name)
        error, allowed = _largest(ours, theirs), tolerance * _scale(theirs)
        if not error <= allowed:
            allowed = max(allowed, DRIFT * self.drift(work, name))
        return Check(error, allowed, f"largest error of the {name}")


def _scale(values: Array) -> float:
    return max(1.0, float(np.abs(values).max(initial=0.0)))


def _largest(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
