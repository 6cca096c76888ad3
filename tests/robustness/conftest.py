"""Counts the cases that the suite tries, and says how many at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

_TRIED: Counter[str] = Counter()

Tried = Callable[[str], None]


@pytest.fixture(scope="session")
def tried() -> Tried:
    """tried(what): one more case of it."""

    def count(what: str) -> None:
        _TRIED[what] += 1

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TRIED:
        listed = ", ".join(f"{count:,} {what}" for what, count in _TRIED.items())
        terminalreporter.write_line(f"robustness: {sum(_TRIED.values()):,} cases tried: {listed}")
