"""How requests are cut and grouped: long texts into pieces with pauses, texts into batches of like length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..text import FrontEnd, split_text

SMALLEST_BUCKET = 32  # tokens; buckets double from here to the bundle's limit
# Seconds of silence after a piece that ends so; the ends are searched in this order.
PAUSES = ((".!?…", 0.35), (";:—–", 0.25), (",", 0.15))
PAUSE_WITHIN_CLAUSE = 0.05
CLOSING = "\"'”’)]}»"
FADE_SECONDS = 0.005  # at a seam, so that no sample jumps


@dataclass(frozen=True)
class Piece:
    """A part of a text that fits the voice's token limit."""

    text: str
    pause: float  # seconds of silence after it; 0 for the last


def plan_pieces(front_end: FrontEnd, text: str, max_tokens: int) -> list[Piece]:
    """The text in one piece where it fits, else split at sentence ends, clauses, words; silent pieces are left out.

    Raises TextError if nothing of the text can be spoken.
    """
    if front_end.count_tokens(text) <= max_tokens:
        front_end.encode(text)  # refuses what is empty, and warns about what is dropped
        return [Piece(text, 0.0)]
    texts = [piece for piece in split_text(text, max_tokens, front_end.count_tokens) if front_end.count_tokens(piece)]
    return [Piece(piece, pause_after(piece)) for piece in texts[:-1]] + [Piece(texts[-1], 0.0)]


def pause_after(piece: str) -> float:
    """Seconds of silence that fit the punctuation at the end of a piece."""
    end = piece.rstrip(CLOSING)[-1:] or piece[-1:]
    return next((seconds for marks, seconds in PAUSES if end in marks), PAUSE_WITHIN_CLAUSE)


def token_bucket(length: int, limit: int) -> int:
    """The padded length at which an item of `length` tokens is decoded, alone or in a batch.

    An engine's softmax sums a longer row in another order, and the decoder loop amplifies that rounding. An item
    therefore always runs at the padding of its own bucket, and shares a batch with items of that bucket only.
    """
    bucket = SMALLEST_BUCKET
    while bucket < length:
        bucket *= 2
    return min(bucket, limit)


def plan_batches(lengths: Mapping[int, int], max_tokens: int, max_batch: int) -> list[list[int]]:
    """Items by their token counts -> batches of one token bucket each, of at most max_batch items."""
    buckets: dict[int, list[int]] = {}
    for i, length in lengths.items():
        buckets.setdefault(token_bucket(length, max_tokens), []).append(i)
    return [group[start : start + max_batch] for group in buckets.values() for start in range(0, len(group), max_batch)]


def faded(samples: NDArray[np.float32], sampling_rate: int, fade_in: bool, fade_out: bool) -> NDArray[np.float32]:
    """A copy of samples that rises from silence or falls to it, over FADE_SECONDS, where it meets a pause."""
    length = min(int(FADE_SECONDS * sampling_rate), len(samples))
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    samples = samples.copy()
    if fade_in:
        samples[:length] *= ramp
    if fade_out:
        samples[len(samples) - length :] *= ramp[::-1]
    return samples
