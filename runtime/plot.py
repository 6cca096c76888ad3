"""Plots utterances: mel spectrogram, alignment and gate over one time axis. Needs matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from .audio import Audio
from .errors import RequestError
from .files import atomic_write


def check_plot(path: Path) -> None:
    """Raises RequestError if matplotlib is not installed or cannot write the path's format."""
    formats = _pyplot().Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise RequestError(f"{path}: unsupported plot format {path.suffix!r}; use .png, .svg or .pdf")


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise RequestError("--plot needs matplotlib; install it with: pip install 'tacoglow[plot]'") from error
    return pyplot


def save_plot(audio: Audio, path: Path, hop_length: int) -> None:
    """Plot the utterances of `audio` side by side; the path's suffix selects the file format."""
    check_plot(path)
    pyplot = _pyplot()
    columns = len(audio.utterances)
    figure, axes = pyplot.subplots(
        3, columns, figsize=(max(9, 6 * columns), 8), sharex="col", squeeze=False, height_ratios=(3, 3, 1)
    )
    for column, utterance in zip(axes.T, audio.utterances, strict=True):
        frames = utterance.mel.shape[1]
        seconds = frames * hop_length / audio.sampling_rate
        extent = (0.0, seconds)
        mel, alignment, gate = column
        mel.imshow(utterance.mel, origin="lower", aspect="auto", extent=(*extent, 0, len(utterance.mel)))
        mel.set(ylabel="mel band", title=utterance.text[:80])
        alignment.imshow(
            utterance.alignment.T, origin="lower", aspect="auto", extent=(*extent, 0, len(utterance.token_ids))
        )
        alignment.set(ylabel="token")
        gate.plot(np.linspace(0.0, seconds, frames, endpoint=False), utterance.gate)
        gate.set(ylabel="gate", xlabel="seconds", ylim=(-0.05, 1.05))
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:])
    pyplot.close(figure)
    atomic_write(path, content.getvalue())
