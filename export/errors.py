"""What can go wrong between checkpoints and a bundle."""

from __future__ import annotations


class ExportError(ValueError):
    """An export that cannot be made, or that failed its own parity check. One line: what, got, expected, way out."""
