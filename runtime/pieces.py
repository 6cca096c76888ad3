"""Splits long texts into pieces that fit the token limit, and joins the pieces' audio with pauses."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..text import DroppedSymbolWarning, FrontEnd, split_text

# Seconds of silence after a piece that ends with one of these marks; searched in this order.
PAUSES = ((".!?…", 0.35), (";:—–", 0.25), (",", 0.15))
PAUSE_WITHIN_CLAUSE = 0.05  # seconds, after a piece that ends with none of these marks
CLOSING = "\"'”’)]}»"  # characters that may follow a mark at the end of a piece
FADE_SECONDS = 0.005  # length of a fade next to a pause, which prevents a click


@dataclass(frozen=True)
class Piece:
    """A part of a text that fits the voice's token limit."""

    text: str
    pause: float  # seconds of silence after the piece; 0 for the last one
    ids: tuple[int, ...]


def split_into_pieces(front_end: FrontEnd, text: str, max_tokens: int) -> list[Piece]:
    """Split a text that exceeds max_tokens at sentence ends, clauses or words; a shorter text is one piece.

    Pieces without tokens are dropped. Warns about dropped characters. Raises TextError if the text has no token.
    """
    ids = front_end.encode(text)
    if len(ids) <= max_tokens:
        return [Piece(text, 0.0, tuple(ids))]
    parts = [part for part in split_text(text, max_tokens, front_end.count_tokens) if front_end.count_tokens(part)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)  # encoding the full text has warned already
        encoded = [tuple(front_end.encode(part)) for part in parts]
    pauses = [pause_after(part) for part in parts[:-1]] + [0.0]
    return [Piece(*piece) for piece in zip(parts, pauses, encoded, strict=True)]


def pause_after(piece: str) -> float:
    """Seconds of silence after a piece, by the punctuation at its end."""
    end = piece.rstrip(CLOSING)[-1:] or piece[-1:]
    return next((seconds for marks, seconds in PAUSES if end in marks), PAUSE_WITHIN_CLAUSE)


def silence_after(piece: Piece, sampling_rate: int) -> NDArray[np.float32]:
    return np.zeros(int(piece.pause * sampling_rate), np.float32)


def join_pieces(
    pieces: Sequence[Piece], samples: Sequence[NDArray[np.float32]], sampling_rate: int
) -> NDArray[np.float32]:
    """Concatenate the samples of all pieces, with fades and pauses between them."""
    parts = []
    for i, (piece, own) in enumerate(zip(pieces, samples, strict=True)):
        parts.append(apply_fades(own, sampling_rate, fade_in=i > 0, fade_out=i < len(pieces) - 1))
        parts.append(silence_after(piece, sampling_rate))
    return np.concatenate(parts)


def join_texts(
    texts: Iterable[tuple[str, Iterable[NDArray[np.float32]]]], sampling_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Join (text, its segments) of several texts into one stream, with fades and pauses between them.

    Holds back no more than the length of a fade.
    """
    previous: str | None = None
    for text, segments in texts:
        if previous is not None:
            yield np.zeros(int(pause_after(previous) * sampling_rate), np.float32)
        yield from _fade_segments(segments, sampling_rate)
        previous = text


def _fade_segments(segments: Iterable[NDArray[np.float32]], sampling_rate: int) -> Iterator[NDArray[np.float32]]:
    """Fade the first segment in and the last one out, although the last one is known only when no other follows."""
    length = int(FADE_SECONDS * sampling_rate)
    held = np.zeros(0, np.float32)
    is_first = True
    for segment in segments:
        known = np.concatenate([held, segment])
        ready, held = known[: max(len(known) - length, 0)], known[max(len(known) - length, 0) :]
        if len(ready):
            yield apply_fades(ready, sampling_rate, fade_in=is_first, fade_out=False)
            is_first = False
    yield apply_fades(held, sampling_rate, fade_in=is_first, fade_out=True)


def apply_fades(samples: NDArray[np.float32], sampling_rate: int, fade_in: bool, fade_out: bool) -> NDArray[np.float32]:
    """Return a copy of the samples that fades in, out or both over FADE_SECONDS."""
    length = min(int(FADE_SECONDS * sampling_rate), len(samples))
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    samples = samples.copy()
    if fade_in:
        samples[:length] *= ramp
    if fade_out:
        samples[len(samples) - length :] *= ramp[::-1]
    return samples
