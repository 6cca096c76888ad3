"""The tiny voice's models and their output, as the benchmark's tests have them."""

from tacoglow.tests.benchmarks.conftest import expected, models

__all__ = ["expected", "models"]
