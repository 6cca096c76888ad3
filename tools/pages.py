"""The figures in README.md and docs/, each between two marks, written from the results that are committed.

python -m tacoglow.tools.pages      # after a new result; the suite checks that nothing else stands there
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..benchmarks import tables
from ..benchmarks.plots import save_plots

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Report = dict[str, Any]


def load(name: str) -> Report:
    report: Report = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return report


def _speed_line() -> str:
    return tables.readme({RESULTS / name: load(name) for name in ("cpu-demo.json", "cpu-nvidia.json")})


def _both(draw: Callable[[Report], str]) -> Callable[[], str]:
    return lambda: "\n\n".join(
        f"{(report := load(name))['voice']}, {tables.place(report)} (`benchmarks/results/{name}`):\n\n{draw(report)}"
        for name in ("cpu-demo.json", "cpu-nvidia.json")
    )


def _placed(report: Report, text: str) -> str:
    return f"{report['voice']}, {tables.place(report)}:\n\n{text}"


def _quality() -> str:
    report = load("quality-demo.json")
    utterances = report["quality"][0]["sentences"]
    said = f"{len(utterances)} utterances of {sum(entry['words'] for entry in utterances)} words"
    return _placed(report, f"{said}:\n\n{tables.quality(report['quality'])}")


def _sentences() -> str:
    report = load("quality-demo.json")
    return _placed(report, tables.sentences(report["quality"]))


def _streaming() -> str:
    report = load("streaming-demo.json")
    return _placed(report, tables.streaming(report["streaming"]))


# page -> name of the marks -> what stands between them
SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"speed": _speed_line},
    "docs/benchmarks.md": {"speed": _both(tables.speed), "quality": _quality},
    "docs/accuracy.md": {"sentences": _sentences},
    "docs/streaming.md": {"streaming": _streaming},
}


def written(page: str, text: str) -> str:
    """A page's text with its sections as the results have them."""
    for name, content in SECTIONS[page].items():
        begin, end = f"<!-- {name}: python -m tacoglow.tools.pages -->", f"<!-- /{name} -->"
        before, rest = text.split(begin, 1)
        text = f"{before}{begin}\n{content()}\n{end}{rest.split(end, 1)[1]}"
    return text


def main() -> None:
    for page in SECTIONS:
        path = ROOT / page
        path.write_text(written(page, path.read_text(encoding="utf-8")), encoding="utf-8")
    save_plots(load("streaming-demo.json"), ROOT / "docs")
    save_plots(load("cpu-demo.json"), ROOT / "docs" / "benchmarks")


if __name__ == "__main__":
    main()
