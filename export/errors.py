"""Errors of exports."""

from __future__ import annotations


class ExportError(ValueError):
    """An impossible export, or one that failed its parity check. One line: name, got, expected, way out."""
