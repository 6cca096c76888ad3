"""Plots: what is drawn where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacoglow import Audio, SpeechOptions, Synthesizer
from tacoglow.runtime.output import plot
from tacoglow.runtime.pieces import pause_after

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def voice(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, threads=1)


def draw(voice: Synthesizer, audio: Audio, monkeypatch: pytest.MonkeyPatch, threshold: float | None = None) -> Any:
    """The figure that would have been saved."""
    figures: list[Any] = []
    monkeypatch.setattr(plot, "_save", lambda figure, path: figures.append(figure))
    plot.save_plot(audio, Path("x.png"), voice.manifest, threshold)
    return figures[0]


def test_every_token_has_its_character(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = draw(voice, voice.say("Hi, {AE1 N D} so."), monkeypatch)
    _, _, alignment, _ = figure.axes[:4]
    labels = [label.get_text() for label in alignment.get_yticklabels()]
    assert labels == ["h", "i", ",", "␣", "AE1", "N", "D", "␣", "s", "o", "."]
    assert list(alignment.get_yticks()) == [i + 0.5 for i in range(11)]


def test_threshold_and_end_are_marked(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    unended = voice.say("I missed you.", options=SpeechOptions(gate_threshold=0.999999)).utterances[0].gate
    threshold = float(unended[5:].max()) - 1e-6
    expected = int((unended > threshold).argmax())
    audio = voice.say("I missed you.", options=SpeechOptions(gate_threshold=threshold))
    gate = draw(voice, audio, monkeypatch, threshold).axes[3]
    horizontal, vertical = gate.lines[0], gate.lines[-1]
    assert set(horizontal.get_ydata()) == {threshold}
    assert list(vertical.get_xdata()) == pytest.approx([audio.seconds] * 2)
    assert gate.texts[0].get_text() == f"gate fired, frame {expected}"
    curve = gate.lines[1]  # the frame whose gate fired, at the end, is drawn too
    assert list(curve.get_ydata()) == pytest.approx(unended[: expected + 1].tolist(), abs=1e-6)
    assert curve.get_xdata()[-1] == pytest.approx(audio.seconds)
    limited = voice.say("I missed you.", options=SpeechOptions(max_frames=5, gate_threshold=0.999999))
    limited_gate = draw(voice, limited, monkeypatch).axes[3]
    assert limited_gate.texts[0].get_text() == "frame limit, frame 5"
    assert len(limited_gate.lines[1].get_ydata()) == 5


def test_pieces_share_one_time_axis(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = voice.say("A first sentence, which is long enough. And then there is a second one, longer still.")
    assert len(audio.utterances) > 1
    figure = draw(voice, audio, monkeypatch)
    rate = audio.sampling_rate
    start, token = 0.0, 0
    for utterance, mel, alignment in zip(audio.utterances, figure.axes[1].images, figure.axes[2].images, strict=True):
        end = start + len(utterance.samples) / rate
        assert mel.get_extent()[:2] == pytest.approx((start, end))
        assert alignment.get_extent() == pytest.approx((start, end, token, token + len(utterance.token_ids)))
        start, token = end + int(pause_after(utterance.text) * rate) / rate, token + len(utterance.token_ids)
    assert end == pytest.approx(audio.seconds)
    assert figure.axes[0].get_xlim() == pytest.approx((0.0, audio.seconds))
    labels = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    assert labels[:3] == ["a", "first", "sentence,"]  # words, because there is no room for every character


@pytest.mark.full
def test_any_length_can_be_saved(voice: Synthesizer, tmp_path: Path) -> None:
    long = voice.say("The $1 and the $2, and so on. " * 60)
    for audio, name in ((long, "long.png"), (Audio(np.zeros(0, np.float32), 16000, ()), "empty.svg")):
        plot.save_plot(audio, tmp_path / name, voice.manifest)
    from matplotlib.image import imread

    height, width = imread(tmp_path / "long.png").shape[:2]
    assert 400 <= height <= 2000
    assert 800 <= width <= 6500
    assert b"<svg" in (tmp_path / "empty.svg").read_bytes()


def test_dollars_are_not_formulas(voice: Synthesizer, tmp_path: Path) -> None:
    """Dollars are drawn as they are, not taken as the marks of a formula."""
    import matplotlib

    audio = voice.say("Costs $x and $y.")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text
        plot.save_plot(audio, tmp_path / "x.svg", voice.manifest)
    assert ">Costs $x and $y.</text>" in (tmp_path / "x.svg").read_text()
