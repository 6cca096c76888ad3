"""Plots speech over one time axis: waveform, mel spectrogram, alignment and gate. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest
from ..errors import RequestError
from ..files import atomic_write
from .audio import Audio, Utterance

INCHES_PER_SECOND = 1.2
WIDTH = (10.0, 60.0)  # inches: a sentence, a page
LABEL_INCHES = 0.13  # height of a label on the token axis
ALIGNMENT_HEIGHT = (3.0, 12.0)  # inches
MOST_SINGLE_TOKENS = 80  # a longer text is labelled by words
Extent = tuple[float, float, float, float]  # left, right, bottom, top
ENVELOPE_BINS = 6000  # bins of the waveform: a peak of one sample must remain visible


def check_plot(path: Path) -> None:
    """Raise RequestError if matplotlib is not installed or cannot write the path's format."""
    formats = _new_figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise RequestError(f"{path}: unsupported plot format {path.suffix!r}; use .png, .svg or .pdf")


def _new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError("--plot needs matplotlib; install it with: pip install 'tacoglow[plot]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_plot(audio: Audio, path: Path, manifest: Manifest, gate_threshold: float | None = None) -> None:
    """Plot `audio`, whose pieces follow each other on one time axis; the path's suffix selects the file format.

    gate_threshold: the probability that ended the utterances; None: the bundle's.
    """
    check_plot(path)
    threshold = manifest.decoder.gate_threshold if gate_threshold is None else gate_threshold
    labels = _token_labels(audio, manifest.text.symbols)
    figure = _new_figure(
        float(np.clip(INCHES_PER_SECOND * audio.seconds, *WIDTH)),
        5.5 + float(np.clip(LABEL_INCHES * len(labels), *ALIGNMENT_HEIGHT)),
    )
    ratios = (1.2, 2.6, figure.get_size_inches()[1] - 5.5, 1.2)
    waveform, mel, alignment, gate = axes = figure.subplots(4, 1, sharex=True, height_ratios=ratios)
    _draw_waveform(waveform, audio)
    parts = list(_place_pieces(audio))
    for image, name in ((_draw_mels(mel, parts), "log magnitude"), (_draw_alignments(alignment, parts), "attention")):
        if image is not None:
            figure.colorbar(image, ax=image.axes, label=name, pad=0.01, fraction=0.03)
    alignment.set_yticks([position + 0.5 for position, _ in labels], [label for _, label in labels], fontsize=7)
    _draw_gates(gate, parts, threshold)
    axes[-1].set(xlabel="seconds", xlim=(0.0, max(audio.seconds, 1e-3)))
    text = " ".join(utterance.text for utterance in audio.utterances)
    longest = int(9 * figure.get_size_inches()[0])  # characters that fit above the waveform
    figure.suptitle(text if len(text) <= longest else text[: longest - 1] + "…", fontsize=11)
    _save(figure, path)


@dataclass(frozen=True)
class _Part:
    """An utterance and its place in the plot."""

    utterance: Utterance
    start: float  # seconds
    end: float
    first_token: int

    @property
    def mel_extent(self) -> Extent:
        return (self.start, self.end, 0, len(self.utterance.mel))

    @property
    def token_extent(self) -> Extent:
        return (self.start, self.end, self.first_token, self.first_token + len(self.utterance.token_ids))


def _place_pieces(audio: Audio) -> Iterator[_Part]:
    """Yield the utterances that have frames, one after the other, with the pauses between them."""
    token = 0
    for utterance in audio.utterances:
        start, stop = utterance.start, utterance.start + len(utterance.samples)
        if stop > start:
            yield _Part(utterance, start / audio.sampling_rate, stop / audio.sampling_rate, token)
        token += len(utterance.token_ids)


def _draw_waveform(axes: Any, audio: Audio) -> None:
    """Draw the lowest and highest sample of each bin."""
    samples = audio.samples
    if len(samples):
        edges = np.linspace(0, len(samples), min(ENVELOPE_BINS, len(samples)), endpoint=False).astype(int)
        low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
        axes.fill_between(edges / audio.sampling_rate, low, high, linewidth=0.5, edgecolor="C0")
        peak = float(np.abs(samples).max())
        axes.set_ylim(-1.05 * max(peak, 1e-3), 1.05 * max(peak, 1e-3))
    axes.set_ylabel("sample")


def _draw_mels(axes: Any, parts: list[_Part]) -> Any:
    mels = [part.utterance.mel for part in parts]
    span = (min(mel.min() for mel in mels), max(mel.max() for mel in mels)) if mels else (0.0, 1.0)
    image = _draw_images(axes, [(mel, part.mel_extent) for mel, part in zip(mels, parts, strict=True)], span)
    axes.set_ylabel("mel band")
    if parts:
        axes.set_ylim(0, len(mels[0]))
    return image


def _draw_alignments(axes: Any, parts: list[_Part]) -> Any:
    """Draw each piece's tokens above those of the piece before it."""
    image = _draw_images(axes, [(part.utterance.alignment.T, part.token_extent) for part in parts], (0.0, 1.0))
    axes.set_ylabel("token")
    if image is not None:
        axes.set_ylim(parts[0].first_token, parts[-1].token_extent[3])
        axes.set_facecolor(image.cmap(0.0))
    return image


def _draw_images(axes: Any, images: list[tuple[NDArray[np.float32], Extent]], span: tuple[float, float]) -> Any:
    """Draw images on one scale of colours; returns the last one, None if there is none."""
    drawn = [
        axes.imshow(image, origin="lower", aspect="auto", extent=extent, vmin=span[0], vmax=span[1])
        for image, extent in images
    ]
    return drawn[-1] if drawn else None


def _draw_gates(axes: Any, parts: list[_Part], threshold: float) -> None:
    axes.axhline(threshold, color="0.5", linestyle="--", linewidth=1, label=f"threshold {threshold:g}")
    for i, part in enumerate(parts):
        gate, end = part.utterance.gate, part.utterance.fired
        times = np.linspace(part.start, part.end, len(gate) + 1)
        axes.plot(times[:-1] if end is None else times, gate if end is None else [*gate, end], color="C0")
        ending = {"gate": "gate fired", "attention_end": "attention ended", "frame_limit": "frame limit"}
        fired = part.utterance.stop_reason == "gate"
        axes.axvline(part.end, color="C2" if fired else "C3", linewidth=1.5)
        label = f"{ending[part.utterance.stop_reason]}, frame {len(gate)}"
        place = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        axes.annotate(label, (part.end, 0.8), fontsize=8, **place)
        if i == 0:
            axes.legend(loc="upper left", fontsize=8)
    axes.set(ylabel="gate", ylim=(-0.05, 1.05))


def _token_labels(audio: Audio, symbols: tuple[str, ...]) -> list[tuple[int, str]]:
    """(token, label): every token of a short text, the words of a longer one, thinned to what the axis has room for."""
    spoken = [symbols[token] for utterance in audio.utterances for token in utterance.token_ids]
    starts = set(np.cumsum([len(utterance.token_ids) for utterance in audio.utterances]).tolist())  # of pieces
    if len(spoken) <= MOST_SINGLE_TOKENS:
        return [(i, _label(symbol)) for i, symbol in enumerate(spoken)]
    words: list[tuple[int, str]] = []
    is_within = False
    for i, symbol in enumerate(spoken):
        if is_within and i not in starts and not symbol.isspace():
            words[-1] = (words[-1][0], words[-1][1] + _label(symbol))
        elif not symbol.isspace():
            words.append((i, _label(symbol)))
        is_within = not symbol.isspace()
    step = -(-len(words) // int(ALIGNMENT_HEIGHT[1] / LABEL_INCHES))
    return [(i, word[:24]) for i, word in words[::step]]


def _label(symbol: str) -> str:
    if symbol.isspace():
        return "␣"
    return symbol.removeprefix("@") if len(symbol) > 1 else symbol


def _save(figure: Any, path: Path) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a text with two dollars in it is not a formula
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), dpi=100)
    atomic_write(path, content.getvalue())
