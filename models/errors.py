"""Errors in reading or downloading checkpoints."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that is unreadable or does not match; the message is one line: file, problem, got, expected, fix."""


class DownloadError(ValueError):
    """A published checkpoint that could not be downloaded; the message is one line: URL, problem, fix."""
