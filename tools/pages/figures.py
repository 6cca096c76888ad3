"""Writes the generated sections of README.md and docs/, and the plots, from the committed results.

    python -m tacoglow.tools.pages.figures      # run after adding a result

A section is the text between two marks. The test suite checks that every section matches the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...benchmarks.tables import place
from . import tables
from .plots import save_plots

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SPEED_RESULTS = ("cpu-nvidia.json", "cpu-hifigan-v1.json", "cpu-hifigan-v3.json")
DEMO_SPEED = "cpu-demo.json"  # of another processor
GROWTH = "growth-demo.json"

Report = dict[str, Any]


def load(name: str) -> Report:
    report: Report = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return report


def _speed_summary() -> str:
    return tables.readme([load(name) for name in SPEED_RESULTS])


def _speed() -> str:
    return tables.pipelines({name: load(name) for name in SPEED_RESULTS})


def _demo_speed() -> str:
    return tables.pipelines({DEMO_SPEED: load(DEMO_SPEED)})


def _with_conditions(report: Report, text: str) -> str:
    return f"{report['voice']}, {place(report)}:\n\n{text}"


def _growth() -> str:
    report = load(GROWTH)
    return _with_conditions(report, tables.sweep(report["sweep"]))


def _quality() -> str:
    report = load("quality-demo.json")
    utterances = report["quality"][0]["sentences"]
    size = f"{len(utterances)} utterances of {sum(entry['words'] for entry in utterances)} words"
    heard = f"words recognized by {report['recognizer']}"
    return _with_conditions(report, f"{size}, {heard}:\n\n{tables.quality(report)}")


def _sentences() -> str:
    report = load("quality-demo.json")
    return _with_conditions(report, tables.sentences(report["quality"]))


def _streaming() -> str:
    report = load("streaming-demo.json")
    return _with_conditions(report, tables.streaming(report["streaming"]))


def _segments() -> str:
    return tables.segments(load("streaming-demo.json")["segments"])


# page -> name of a section -> function that returns its content
SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"speed": _speed_summary},
    "docs/benchmarks.md": {"speed": _speed, "demo": _demo_speed, "growth": _growth, "quality": _quality},
    "docs/accuracy.md": {"sentences": _sentences},
    "docs/streaming.md": {"streaming": _streaming, "segments": _segments},
}


def update_sections(page: str, text: str) -> str:
    """Return the page's text with its sections replaced by the content that the results give."""
    for name, content in SECTIONS[page].items():
        begin, end = f"<!-- {name}: python -m tacoglow.tools.pages.figures -->", f"<!-- /{name} -->"
        before, rest = text.split(begin, 1)
        text = f"{before}{begin}\n{content()}\n{end}{rest.split(end, 1)[1]}"
    return text


def main() -> None:
    for page in SECTIONS:
        path = ROOT / page
        path.write_text(update_sections(page, path.read_text(encoding="utf-8")), encoding="utf-8")
    save_plots(load("streaming-demo.json"), ROOT / "docs")
    for name in (DEMO_SPEED, GROWTH):
        save_plots(load(name), ROOT / "docs" / "benchmarks")


if __name__ == "__main__":
    main()
