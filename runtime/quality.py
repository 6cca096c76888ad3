"""Judges an utterance by its attention: was every word said, once, and nothing else?

An attention that walks from the first token to the last speaks the text. What goes wrong with Tacotron 2 shows in the
alignment: tokens that no frame attends to, a return to tokens that are spoken already, a rest on one token, an end
before the last token, frames after it, and an attention that looks nowhere.

Thresholds count in paces: a pace is the number of frames that this utterance gives to an ordinary token, so they hold
for every frame length and speaking style. docs/accuracy.md has their calibration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import escape_control

if TYPE_CHECKING:
    from ..text.words import SpokenWord

Reason = Literal["skipped", "repeated", "stuck", "cut_off", "babble"]

SMOOTHED_FRAMES = 5  # the attention's position is a median over so many frames: one frame proves nothing
SKIPPED_TOKENS = 3  # fewest neighbouring tokens that count as skipped: single letters may be silent
SKIPPED_SHARE = 0.12  # of their ordinary attention, below which they are
BACK_TOKENS = 2  # a return by fewer is hesitation
BACK_FRAMES = 3
STUCK_PACES = 12.0  # on one letter or phone
PAUSE_PACES = 18.0  # on a space or a mark, where a voice pauses
ENDED_PACES = 14.0  # on what follows the last letter or phone
MOST_SHOWN = 6  # words of one fault in a message
FOCUS = 0.25  # weight of the most attended token, below which the attention looks nowhere
UNFOCUSED_PACES = 8.0


@dataclass(frozen=True)
class Fault:
    """A fault of an utterance and the tokens that it concerns, [first, stop); none for babble after the end."""

    reason: Reason
    first: int
    stop: int


@dataclass(frozen=True)
class SpeechFault:
    """A fault as a user reads it; as a string it is a line for people, with control characters escaped."""

    reason: Reason
    words: tuple[str, ...]  # those concerned, as they are written; none for babble after the last one

    def __str__(self) -> str:
        shown = self.words if len(self.words) <= MOST_SHOWN else (*self.words[: MOST_SHOWN - 1], "…", self.words[-1])
        return f"{self.reason.replace('_', ' ')}{':' if shown else ''} {escape_control(' '.join(shown))}".rstrip()


@dataclass(frozen=True)
class Quality:
    """The judgement on an utterance, or on a whole text."""

    faults: tuple[SpeechFault, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Each reason once, in the order of the text."""
        return tuple(dict.fromkeys(fault.reason for fault in self.faults))

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults)) or "good"


def judge(alignment: NDArray[np.float32], is_cut_off: bool, audible: NDArray[np.bool_]) -> tuple[Fault, ...]:
    """Find the faults of an utterance, in the order of their tokens; none: it says its text.

    alignment: [F, T], of the frames before the utterance's end. is_cut_off: the frame limit ended it. audible [T]: true
    for letters and phones, false for spaces and punctuation. Takes O(F * T).
    """
    letters = np.flatnonzero(audible)
    if not len(letters):
        return ()
    if not len(alignment):
        return (Fault("cut_off", 0, len(audible)),)
    attended = alignment[:, letters].sum(0, dtype=np.float64)  # so that every runtime finds the same
    pace = _pace(attended)
    position = _smooth(alignment.argmax(1))
    walk = np.maximum(np.searchsorted(letters, position, "right") - 1, 0)  # in letters
    faults = [*_endless(position, walk, pace, letters, is_cut_off)]
    if longest_run(alignment.max(1) < FOCUS) > UNFOCUSED_PACES * pace:
        faults.append(Fault("babble", 0, len(audible)))
    else:
        faults += [
            *_skipped(attended, pace, letters),
            *_repeated(walk, letters),
            *_stuck(position, pace, audible),
        ]
    return tuple(sorted(faults, key=lambda fault: (fault.first, fault.stop)))


def severity(faults: Sequence[Fault], tokens: int) -> int:
    """Of several tries at a text of so many tokens, the best one has the least: 0 without faults."""
    return sum(tokens if fault.reason == "babble" else max(fault.stop - fault.first, 1) for fault in faults)


def describe(faults: Sequence[Fault], words: Sequence[SpokenWord]) -> Quality:
    """Name the words that faults concern. words: of the text, with their tokens."""
    named = (
        (fault, tuple(word.text for word in words if word.first < fault.stop and fault.first < word.stop))
        for fault in faults
    )
    return Quality(tuple(SpeechFault(fault.reason, own) for fault, own in named))


def _pace(attended: NDArray[np.float64]) -> float:
    """Frames of an ordinary letter, from the frames that attend to each; those of the last one are the end's."""
    inner = attended[:-1] if len(attended) > 1 else attended
    spoken = np.sort(inner[inner >= 1.0])
    return float(spoken[(len(spoken) - 1) // 2]) if len(spoken) else 1.0


def _smooth(position: NDArray[np.intp]) -> NDArray[np.intp]:
    padded = np.pad(position, SMOOTHED_FRAMES // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED_FRAMES)
    return np.sort(windows, axis=1)[:, SMOOTHED_FRAMES // 2]


def _skipped(attended: NDArray[np.float64], pace: float, letters: NDArray[np.intp]) -> Iterator[Fault]:
    """Runs of letters that hardly any frame attends to; cut off, if it is those at the end."""
    size = min(SKIPPED_TOKENS, len(letters))
    groups = np.convolve(attended, np.ones(size), "valid") < SKIPPED_SHARE * size * pace
    covered = np.convolve(groups, np.ones(size)) > 0  # letters of such a group
    for first, stop in _runs(covered):
        reason: Reason = "cut_off" if stop == len(letters) else "skipped"
        yield Fault(reason, int(letters[first]), int(letters[stop - 1]) + 1)


def _repeated(walk: NDArray[np.intp], letters: NDArray[np.intp]) -> Iterator[Fault]:
    """Returns to letters before the furthest one so far."""
    furthest = np.maximum.accumulate(walk)
    for first, stop in _runs(furthest - walk >= BACK_TOKENS):
        if stop - first >= BACK_FRAMES:
            yield Fault("repeated", int(letters[walk[first:stop].min()]), int(letters[furthest[first]]) + 1)


def _stuck(position: NDArray[np.intp], pace: float, audible: NDArray[np.bool_]) -> Iterator[Fault]:
    """Rests on one token before the last letter."""
    last = np.flatnonzero(audible)[-1]
    changes = np.flatnonzero(np.diff(position)) + 1
    starts, stops = np.concatenate(([0], changes)), np.concatenate((changes, [len(position)]))
    for start, stop in zip(starts, stops, strict=True):
        token = int(position[start])
        most = STUCK_PACES if audible[token] else PAUSE_PACES
        if token < last and stop - start > most * pace:
            yield Fault("stuck", token, token + 1)


def _endless(
    position: NDArray[np.intp], walk: NDArray[np.intp], pace: float, letters: NDArray[np.intp], is_cut_off: bool
) -> Iterator[Fault]:
    """Frames after the last letter that are more than a voice lets sound, and an end that the frame limit made."""
    at_end = longest_run(position >= letters[-1])
    if at_end > ENDED_PACES * pace or (is_cut_off and at_end):
        yield Fault("babble", int(letters[-1]) + 1, int(letters[-1]) + 1)
    elif is_cut_off:
        yield Fault("cut_off", int(letters[walk.max()]), int(letters[-1]) + 1)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """The most true flags in a row."""
    return max((stop - start for start, stop in _runs(flags)), default=0)


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """[start, stop) of every run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
