"""Errors that a checkpoint can cause."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit: one line: the name, what was found, the way out."""


class DownloadError(ValueError):
    """A published checkpoint that could not be fetched: one line: the URL, what happened, the way out."""
