"""How requests are cut and grouped: long texts into pieces with pauses, texts into batches of like length."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..text import DroppedSymbolWarning, FrontEnd, split_text
from .manifest import Manifest

WINDOW_FRAMES = 768  # new frames a vocoder window at most; 8.9 s at 22,050 Hz and a hop of 256
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
    ids: tuple[int, ...]


def plan_pieces(front_end: FrontEnd, text: str, max_tokens: int) -> list[Piece]:
    """The text in one piece where it fits, else split at sentence ends, clauses, words; silent pieces are left out.

    Warns of characters that are dropped. Raises TextError if nothing of the text can be spoken.
    """
    ids = front_end.encode(text)
    if len(ids) <= max_tokens:
        return [Piece(text, 0.0, tuple(ids))]
    parts = [part for part in split_text(text, max_tokens, front_end.count_tokens) if front_end.count_tokens(part)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedSymbolWarning)  # the text has been warned of as a whole
        encoded = [tuple(front_end.encode(part)) for part in parts]
    pauses = [pause_after(part) for part in parts[:-1]] + [0.0]
    return [Piece(*piece) for piece in zip(parts, pauses, encoded, strict=True)]


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


def denoiser_frames(manifest: Manifest) -> int:
    """Frames to either side of a sample that the denoiser's transform reaches."""
    return -(-manifest.audio.filter_length // manifest.audio.hop_length)


def vocoder_window_frames(manifest: Manifest) -> int:
    """Frames that the vocoder's graphs see at once at most: a window with all its context."""
    context = manifest.vocoder.frames_before + manifest.vocoder.frames_after
    return WINDOW_FRAMES + 2 * denoiser_frames(manifest) + context


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
