"""Splits long texts into pieces that fit the token limit, and joins the pieces' audio with pauses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..text import FrontEnd, Lexicon, PausedText, parse_ssml, silent_text, split_at_pauses, split_text
from ..text.lines import LINE_END, PARAGRAPH_END, collapse_lines, split_lines
from ..text.pauses import Part
from .errors import RequestError

SENTENCE_MARKS = ".!?…"
# Seconds of silence after a piece that ends with one of these marks; searched in this order.
PAUSES = ((SENTENCE_MARKS, 0.35), (";:—–", 0.25), (",", 0.15))
PARAGRAPH_PAUSE = 0.7  # seconds of silence after a paragraph, at least
LONGEST_PAUSE = max(PARAGRAPH_PAUSE, *(seconds for _, seconds in PAUSES))
SILENCE_MAX = 120.0  # seconds that a request may ask a scheduler or Triton for: silence costs memory but no computation
PAUSE_WITHIN_CLAUSE = 0.05  # seconds, after a piece that ends with none of these marks
CLOSING = "\"'”’)]}»"  # characters that may follow a mark at the end of a piece
FADE_SECONDS = 0.005  # length of a fade next to a pause, which prevents a click


@dataclass(frozen=True)
class Piece:
    """A part of a text that is spoken by itself."""

    text: str
    pause: float  # seconds of silence after the piece
    ids: tuple[int, ...]
    pause_before: float = 0.0  # seconds of silence before the piece; only before the first one
    rate: float = 1.0  # times the request's speaking rate
    volume: float = 1.0  # times the request's


@dataclass(frozen=True)
class Split:
    """A text as it is spoken."""

    pieces: list[Piece]
    dropped: tuple[str, ...] = ()  # what the voice has no symbol for: characters, and phones as "{PHONE}", each once
    remarks: tuple[str, ...] = ()  # for people, a line each: what else is not spoken as the text asks


def split_into_pieces(
    front_end: FrontEnd,
    text: str,
    max_tokens: int,
    sentence_silence: float | None = None,
    lexicon: Lexicon | None = None,
    ssml: bool = False,
) -> Split:
    """Split a text at its pauses, [pause 0.5s], and its lines, and a part that exceeds max_tokens at sentence ends,
    clauses or words.

    sentence_silence: seconds of silence between sentences, which are then all spoken by themselves; None: as above.
    lexicon: this request's, which is applied before the voice's. ssml: the text is an SSML document. Pieces without
    tokens are dropped. Raises TextError if the text has no token.
    """
    if ssml:
        document = parse_ssml(text)
        paused, remarks = document.text, document.remarks
    else:
        paused, remarks = split_at_pauses(text), ()
    if lexicon is not None:
        paused = replace(paused, parts=tuple(part._replace(text=lexicon.apply(part.text)) for part in paused.parts))
    ids, dropped, further = front_end.read(paused.text)
    remarks += further
    first = paused.parts[0]
    is_only = len(paused.parts) == 1 and sentence_silence is None
    if is_only and len(ids) <= max_tokens and LINE_END not in collapse_lines(first.text):
        piece = Piece(first.text, first.pause or 0.0, tuple(ids), paused.before, first.rate, first.volume)
        return Split([piece], dropped, remarks)
    before, pieces = paused.before, list[Piece]()
    encode = cache(front_end.encode_or_drop)  # most parts are looked at three times

    def count_tokens(part: str) -> int:
        return len(encode(part))

    for line in _lines(paused, sentence_silence):
        is_whole = is_only and count_tokens(line.text) <= max_tokens
        parts = [line.text] if is_whole else split_text(line.text, max_tokens, count_tokens)
        spoken = [own for own in parts if count_tokens(own)]
        for i, own in enumerate(spoken, 1):
            asked = line.pause if i == len(spoken) else None
            pause = pause_after(own, sentence_silence) if asked is None else asked
            pieces.append(Piece(own, pause, tuple(encode(own)), 0.0, line.rate, line.volume))
        if not spoken and pieces:
            pieces[-1] = replace(pieces[-1], pause=pieces[-1].pause + (line.pause or 0.0))
        elif not spoken:
            before += line.pause or 0.0
    if not pieces:  # what has a symbol is punctuation in lines by itself
        raise silent_text(paused.text, dropped)
    pieces[-1] = replace(pieces[-1], pause=pieces[-1].pause if paused.parts[-1].pause is not None else 0.0)
    return Split([replace(pieces[0], pause_before=before), *pieces[1:]], dropped, remarks)


def _lines(paused: PausedText, sentence_silence: float | None) -> Iterator[Part]:
    """The lines of a text that have a letter or digit, each with the seconds of silence after it.

    A line without one, such as a row of dashes, is a paragraph's end.
    """
    sentence = PAUSES[0][1] if sentence_silence is None else sentence_silence
    paragraph = max(sentence, PARAGRAPH_PAUSE)
    for part in paused.parts:
        lines = split_lines(collapse_lines(part.text))
        spoken = [i for i, (line, _) in enumerate(lines) if any(map(str.isalnum, line))] or [len(lines) - 1]
        for i, following in pairwise(spoken):
            is_paragraph = following > i + 1 or lines[i][1] == PARAGRAPH_END
            yield part._replace(text=lines[i][0], pause=paragraph if is_paragraph else sentence)
        yield part._replace(text=lines[spoken[-1]][0])


def pause_after(piece: str, sentence_silence: float | None = None) -> float:
    """Seconds of silence after a piece, by the punctuation at its end; sentence_silence: after a sentence, if given."""
    end = piece.rstrip(CLOSING)[-1:] or piece[-1:]
    if sentence_silence is not None and end in SENTENCE_MARKS:
        return sentence_silence
    return next((seconds for marks, seconds in PAUSES if end in marks), PAUSE_WITHIN_CLAUSE)


def check_silence(pieces: Sequence[Piece]) -> None:
    """Raises RequestError for more than SILENCE_MAX seconds of pauses that are longer than those of punctuation."""
    pauses = (pause for piece in pieces for pause in (piece.pause_before, piece.pause))
    asked = sum(pause for pause in pauses if pause > LONGEST_PAUSE)
    if asked > SILENCE_MAX + 1e-6:  # sums of decimals are inexact
        raise RequestError(f"text: expected at most {SILENCE_MAX:g} seconds of pauses, got {asked:g}")


def silence(seconds: float, sampling_rate: int) -> NDArray[np.float32]:
    return np.zeros(int(seconds * sampling_rate), np.float32)


def join_pieces(
    pieces: Sequence[Piece], samples: Sequence[NDArray[np.float32]], sampling_rate: int
) -> NDArray[np.float32]:
    """Concatenate the samples of all pieces, with fades and pauses between them."""
    parts = []
    for i, (piece, own) in enumerate(zip(pieces, samples, strict=True)):
        parts.append(silence(piece.pause_before, sampling_rate))
        parts.append(fade_ends(own, sampling_rate, pieces, i, is_first=True, is_last=True))
        parts.append(silence(piece.pause, sampling_rate))
    return np.concatenate(parts)


def place_pieces(pieces: Sequence[Piece], lengths: Sequence[int], sampling_rate: int) -> list[int]:
    """The first sample of each piece in what join_pieces returns; lengths: samples of the pieces."""
    starts, position = [], 0
    for piece, length in zip(pieces, lengths, strict=True):
        position += int(piece.pause_before * sampling_rate)
        starts.append(position)
        position += length + int(piece.pause * sampling_rate)
    return starts


def fade_ends(
    samples: NDArray[np.float32], sampling_rate: int, pieces: Sequence[Piece], i: int, is_first: bool, is_last: bool
) -> NDArray[np.float32]:
    """Fade a segment of piece i where another piece or a pause adjoins. is_first, is_last: of the piece's segments."""
    fade_in = is_first and (i > 0 or pieces[i].pause_before > 0.0)
    fade_out = is_last and (i < len(pieces) - 1 or pieces[i].pause > 0.0)
    return apply_fades(samples, sampling_rate, fade_in, fade_out) if fade_in or fade_out else samples


def place_segment(
    samples: NDArray[np.float32], sampling_rate: int, pieces: Sequence[Piece], i: int, is_first: bool, is_last: bool
) -> Iterator[NDArray[np.float32]]:
    """Yield a segment of piece i, faded as `fade_ends` does, between the pauses that adjoin it."""
    if is_first and pieces[i].pause_before > 0.0:
        yield silence(pieces[i].pause_before, sampling_rate)
    yield fade_ends(samples, sampling_rate, pieces, i, is_first, is_last)
    if is_last and pieces[i].pause > 0.0:
        yield silence(pieces[i].pause, sampling_rate)


def join_texts(
    texts: Iterable[tuple[str, Iterable[NDArray[np.float32]]]],
    sampling_rate: int,
    sentence_silence: float | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Join (text, its segments) of several texts into one stream, with fades and pauses between them.

    sentence_silence: seconds of silence after a text that ends as a sentence does; None: the usual pause.
    Holds back no more than the length of a fade.
    """
    previous: str | None = None
    for text, segments in texts:
        if previous is not None:
            yield silence(pause_after(previous, sentence_silence), sampling_rate)
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
