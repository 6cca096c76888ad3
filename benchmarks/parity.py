"""Compares a pipeline's output with the reference's, because a pipeline with different output is not timed.

The tolerances are the exporter's. In float32 the complete mel and audio are compared. The decoder feeds on its own
output, so rounding grows: an error above the tolerance is still accepted up to DRIFT times the difference between
PyTorch in float32 and in float64. In half precision late frames may be a different, equally valid rendering, so only
the mean error of the mel's first quarter is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..export.parity import DRIFT, TOLERANCES
from .pipelines import Pipeline, PipelineOutput
from .voices import Models
from .workload import Workload

ROUNDED = TOLERANCES["bf16"]  # of products with 8-bit numbers too
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    error: float
    tolerance: float
    what: str  # the tensor and the norm

    @property
    def passes(self) -> bool:
        return self.error <= self.tolerance  # false if the error is NaN


class BenchReference:
    """PyTorch in float32 on the CPU; its difference from float64 is computed when it is needed."""

    def __init__(self, pipeline: Pipeline, models: Models) -> None:
        self._pipeline, self._models = pipeline, models
        self._outputs: dict[Workload, PipelineOutput] = {}
        self._drifts: dict[Workload, dict[str, float]] = {}

    def output(self, work: Workload) -> PipelineOutput:
        if work not in self._outputs:
            self._outputs[work] = self._pipeline.synthesize(work)[0]
        return self._outputs[work]

    def drift(self, work: Workload, name: str) -> float:
        """The largest difference between the reference's "mel" or "audio" in float32 and in float64."""
        if work not in self._drifts:
            from .pytorch import PyTorchPipeline

            exact, own = PyTorchPipeline(self._models, precision="fp64").synthesize(work)[0], self.output(work)
            self._drifts[work] = {key: _max_error(getattr(exact, key), getattr(own, key)) for key in ("mel", "audio")}
        return self._drifts[work][name]

    def check(self, got: PipelineOutput, work: Workload, precision: str) -> Check:
        """Return a comparison that fails, or if all pass, the one that is closest to its tolerance."""
        expected, tolerance = self.output(work), TOLERANCES.get(precision, ROUNDED)
        if tolerance.pipeline is None:
            checks = _half_precision_checks(got, expected, tolerance.graph)
        else:
            checks = [self._check_tensor(name, got, expected, work, tolerance.pipeline) for name in ("mel", "audio")]
        return max(checks, key=lambda check: (not check.passes, check.error / max(check.tolerance, 1e-30)))

    def _check_tensor(
        self, name: str, got: PipelineOutput, expected: PipelineOutput, work: Workload, tolerance: float
    ) -> Check:
        ours, theirs = getattr(got, name), getattr(expected, name)
        if ours is None:
            return Check(0.0, tolerance, name)
        if name == "audio" and got.padded:
            ours, theirs = ours[:, : -got.padded], theirs[:, : -got.padded]
        error, allowed = _max_error(ours, theirs), tolerance * _scale(theirs)
        if not error <= allowed:
            allowed = max(allowed, DRIFT * self.drift(work, name))
        return Check(error, allowed, f"largest error of the {name}")


def _half_precision_checks(got: PipelineOutput, expected: PipelineOutput, tolerance: float) -> list[Check]:
    quarter = max(1, expected.mel.shape[2] // 4)
    first = expected.mel[:, :, :quarter]
    error = float(np.abs(got.mel[:, :, :quarter] - first).mean())
    checks = [Check(error, tolerance * _scale(first), "mean error of the mel's first quarter")]
    if got.audio is not None:
        error = 0.0 if np.isfinite(got.audio).all() else np.inf
        checks.append(Check(error, 0.0, "NaN or Inf in the audio"))
    return checks


def _scale(values: Array) -> float:
    return max(1.0, float(np.abs(values).max(initial=0.0)))


def _max_error(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
