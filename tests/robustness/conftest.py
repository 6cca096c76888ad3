"""Counts the cases that the robustness tests try, and prints the counts at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

_TRIED: Counter[str] = Counter()

Tried = Callable[[str], None]


@pytest.fixture(scope="session")
def tried() -> Tried:
    """Return a function that counts one more case of the given kind."""

    def count(kind: str) -> None:
        _TRIED[kind] += 1

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TRIED:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in _TRIED.items())
        terminalreporter.write_line(f"robustness: {sum(_TRIED.values()):,} cases tried: {listed}")
