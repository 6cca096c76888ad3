"""Reads CHANGELOG.md: `python -m tacoglow.tools.release.changelog 0.1.0` prints the notes of that version.

A version's section begins with `## 0.1.0 (2026-12-01)`, or `(unreleased)` until the day of its release.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
HEADING = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2}|unreleased)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    date: str  # or "unreleased"
    notes: str  # Markdown


def read_sections(text: str) -> dict[str, Section]:
    """Return version -> section. Raises ValueError for a heading of another form, or of one version twice."""
    for line in text.splitlines():
        if line.startswith("## ") and not HEADING.match(line):
            raise ValueError(f"CHANGELOG.md: expected '## 1.2.3 (2026-12-01)' or '(unreleased)', got {line!r}")
    sections: dict[str, Section] = {}
    headings = [*HEADING.finditer(text)]
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # without a heading there is still an end
        if heading[1] in sections:
            raise ValueError(f"CHANGELOG.md: two sections of {heading[1]}")
        sections[heading[1]] = Section(heading[2], text[heading.end() : end].strip())
    return sections


def find_notes(text: str, version: str, is_release: bool) -> str:
    """Return the version's notes. Raises ValueError if they are missing, or not dated though it is a release."""
    section = read_sections(text).get(version)
    if section is None or not section.notes:
        raise ValueError(f"CHANGELOG.md: no notes of {version}; write a section '## {version} (unreleased)'")
    if is_release and section.date == "unreleased":
        raise ValueError(f"CHANGELOG.md: {version} is unreleased; write the date of the release into its heading")
    return section.notes


if __name__ == "__main__":
    print(find_notes(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1].removeprefix("v"), is_release=True))
