"""Errors in reading or downloading checkpoints."""

from __future__ import annotations

from typing import Any

LONGEST_SHOWN = 60  # characters of a file's value in a message


class CheckpointError(ValueError):
    """A checkpoint that is unreadable or does not match; the message is one line: file, problem, got, expected, fix."""


def shown(value: Any) -> str:
    """Describe a value from a file in a few characters, whatever it contains: a repr could be endless."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length():,} bits"
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value[:LONGEST_SHOWN] if isinstance(value, str) else value)
        return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    return f"a {type(value).__name__[:LONGEST_SHOWN]}"


class DownloadError(ValueError):
    """A published checkpoint that could not be downloaded; the message is one line: URL, problem, fix."""
