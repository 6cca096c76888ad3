"""The generated sections and plots of the pages match the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from tacoglow.tools.pages import figures as pages
from tacoglow.tools.pages.plots import save_plots


def test_plots_of_a_result(tmp_path: Path) -> None:
    speed = save_plots(pages.load("cpu-demo.json"), tmp_path)
    streams = save_plots(pages.load("streaming-demo.json"), tmp_path)
    assert [path.name for path in [*speed, *streams]] == ["stages.png", "streaming.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in [*speed, *streams])


@pytest.mark.parametrize("page", pages.SECTIONS)
def test_pages_match_results(page: str) -> None:
    text = (pages.ROOT / page).read_text(encoding="utf-8")
    assert pages.update_sections(page, text) == text, "run: python -m tacoglow.tools.pages.figures"


def test_edited_figure_is_detected() -> None:
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("<!-- speed:")[1]
    figure = next(word for word in section.split() if word.replace(".", "").isdigit() and "." in word)
    edited = text.replace(figure, "99.99")
    assert edited != text
    assert pages.update_sections("README.md", edited) != edited
