"""Text normalizers that others bring: functions from text to text, found by name as Python entry points.

A package offers one in its pyproject.toml, and it is then known wherever a normalizer is named:

    [project.entry-points."tacoglow.normalizers"]
    nemo = "my_package:normalize"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from .errors import TextError, quote

GROUP = "tacoglow.normalizers"
Normalizer = Callable[[str], str]


def find_normalizer(name: str) -> Normalizer:
    """The normalizer of that name, wrapped: its failures become TextErrors. Raises TextError if unknown."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none is installed"
        raise TextError(f"normalizer: unknown {quote(name)}; known: {known}; a package adds one as entry point {GROUP}")
    try:
        normalize = found[name].load()
    except Exception as error:  # whatever the import of another package raises
        raise TextError(f"normalizer {quote(name)}: cannot be loaded: {_describe(error)}") from error

    def checked(text: str) -> str:
        try:
            normalized = normalize(text)
        except Exception as error:  # whatever the package raises
            raise TextError(f"normalizer {quote(name)}: failed on {quote(text)}: {_describe(error)}") from error
        if not isinstance(normalized, str):
            raise TextError(f"normalizer {quote(name)}: expected a string, got {type(normalized).__name__}")
        return normalized

    return checked


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
