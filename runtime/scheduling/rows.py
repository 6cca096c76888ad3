"""Rows of a running decoder: each is decoded some steps at a time, beside whichever others are chosen.

On the CPU, rows share decoder steps. A row keeps its own step number, by which its dropout is drawn, and its own
states, which are copied out and in whenever the set of rows changes; on a GPU the backend does the same there. A row
therefore speaks what it would speak alone, if the machine's kernels round an item alike alone and in any batch:
`share_steps` finds that out before the first request, but for the fused decoder, whose rows have no part in each other.
If they do not, each row has a batch of its own; on a GPU all of them are launched before any is waited for.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..acoustic import AcousticModel, pad_and_stack
from ..bundle.manifest import doubling
from ..decoder import Chunk, DecodedBatch, DecoderSession, EncoderOutput, Profile, RowSteps
from ..host_steps import AttentionWindow, HostSteps
from ..noise import Noise
from ..options import ResolvedOptions, SpeechOptions

CHECKED_STEPS = 8
CHECKED_BATCHES = (2, 3)  # and the largest


class Row:
    """One item that is being decoded."""

    def __init__(self, encoded: EncoderOutput, noise: Noise, decoded: DecodedBatch, window: int | None = None) -> None:
        """encoded, decoded: batches of one. window: tokens ahead that its attention may see; None: all."""
        self.encoded, self.noise, self.decoded, self.window = encoded, noise, decoded, window
        self.reached = 0  # furthest token that the attention has rested on, while it is not in the running batch
        self.states: Mapping[str, NDArray[Any]] | None = None  # while it is not in the running batch; None: zeros
        self.failure: BaseException | None = None  # that has lost steps of it, maybe while it rested
        self._taken = 0  # frames

    @property
    def bucket(self) -> int:
        """The padded token count."""
        return int(self.encoded.memory.shape[1])

    def take_frames(self) -> int:
        """Return how many frames have been decoded since the last call."""
        taken, self._taken = self._taken, self.decoded.frame
        return self._taken - taken


class RowDecoder(ABC):
    openings: ClassVar[int] = 1  # rows that are opened between two chunks at most, because an encoder takes a while

    def __init__(self, acoustic: AcousticModel, max_rows: int) -> None:
        self.acoustic, self.max_rows = acoustic, max_rows

    @abstractmethod
    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        """Begin a row. encoded: a batch of one, at its token bucket. options: without what ends a request."""

    def checked_batches(self) -> Iterator[Sequence[int]]:
        """Token counts of the items of batches in which it may be seen that rows change each other."""
        longest = self.acoustic.manifest.range("T").max
        lengths = min(5, longest), longest, min(9, longest)
        for rows in {*CHECKED_BATCHES, self.max_rows}:
            if rows <= self.max_rows:
                yield [lengths[i % len(lengths)] for i in range(rows)]

    @abstractmethod
    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        """Decode about n_steps more steps of rows that may share them, fewer if one of them ends; returns how many.

        On a GPU they may be there after the next call only, which finds the rows in their places meanwhile. What fails
        for some rows and not for others is told in their `failure`, and is not raised.
        """


class SharedRows(RowDecoder):
    """Rows that share decoder steps on the host."""

    def __init__(self, acoustic: AcousticModel, max_rows: int) -> None:
        super().__init__(acoustic, max_rows)
        self._rows: list[Row] = []  # the running batch

    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        decoded = DecodedBatch(self.acoustic.manifest, encoded.memory_mask, [noise], options)
        return Row(encoded, noise, decoded, options.attention_window)

    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        if set(self._rows) != set(rows):
            self._regroup(rows)
        for done in range(1, n_steps + 1):
            self._steps.launch(self._step)
            self._step += 1
            chunk = self._steps.read()
            for i, row in enumerate(self._rows):
                own = slice(i, i + 1)
                row.decoded.record(
                    Chunk(chunk.mel[:, own], chunk.gate_logits[:, own], chunk.attention_weights[:, own, : row.bucket])
                )
            if not all(row.decoded.running for row in rows):
                return done
        return n_steps

    def _regroup(self, rows: Sequence[Row]) -> None:
        """Make `rows` the running batch."""
        for i, row in enumerate(self._rows):
            row.states = {name: array[i : i + 1].copy() for name, array in self._steps.states.items()}
            if self._steps.window is not None:
                row.reached = int(self._steps.window.reached[i])
        tokens = max(row.bucket for row in rows)
        tensors = self.acoustic.manifest.graphs["decoder_step"].tensors
        states = {}
        for name in self.acoustic.manifest.decoder.states:
            shape = tensors[name].resolve({"B": len(rows), "T": tokens})
            states[name] = stacked = np.zeros(shape, tensors[name].dtype)
            for i, row in enumerate(rows):
                if row.states is not None:  # only states over tokens have another shape, and are zero at the padding
                    width = min(shape[1], row.states[name].shape[1])
                    stacked[i, :width] = row.states[name][0, :width]
        encoded, window = pad_and_stack([row.encoded for row in rows], tokens), None
        if any(row.window is not None for row in rows):
            window = AttentionWindow(encoded.memory_mask, [row.window for row in rows], [row.reached for row in rows])
        self._steps: HostSteps = self.acoustic.decoder_steps(
            encoded,
            [row.noise for row in rows],
            window,
            first_steps=[row.decoded.step for row in rows],
            states=states,
        )
        self._rows, self._step = list(rows), 0


class SeparateRow(Row):
    """A row with a batch of its own."""

    def __init__(self, encoded: EncoderOutput, noise: Noise, session: DecoderSession) -> None:
        super().__init__(encoded, noise, session.decoded)
        self.session = session


class SeparateRows(RowDecoder):
    """Rows with a batch each."""

    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        return SeparateRow(encoded, noise, self.acoustic.session(encoded, [noise], options))

    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        separate = [row for row in rows if isinstance(row, SeparateRow)]
        frames = n_steps * self.acoustic.manifest.decoder.frames_per_step
        for row in separate:
            row.session.begin(frames)
        for row in separate:
            row.session.advance(frames)
        return n_steps


@contextmanager
def _told(rows: Sequence[Row]) -> Iterator[None]:
    """What is raised in the block has lost steps of these rows."""
    try:
        yield
    except BaseException as error:
        for row in rows:
            row.failure = error


class DeviceRow(Row):
    """A row with a place in the running batch on a GPU."""

    def __init__(self, encoded: EncoderOutput, noise: Noise, decoded: DecodedBatch, steps: RowSteps) -> None:
        super().__init__(encoded, noise, decoded)
        self.number = steps.join(encoded, noise, decoded.gate_logit, decoded.step_limit)
        self.launched = 0  # steps
        self.leave = weakref.finalize(self, steps.leave, self.number)  # when it has ended, or nobody wants it any more


class DeviceRows(SeparateRows):
    """Rows that share decoder steps on a GPU, which always has a chunk launched while the host reads the one before.

    Only a row whose attention is restricted to a window is decoded by itself: the window moves between two steps.
    """

    openings = 4

    def __init__(self, acoustic: AcousticModel, max_rows: int, steps: RowSteps) -> None:
        super().__init__(acoustic, max_rows)
        self._steps = steps
        self._unread: list[list[DeviceRow]] = []  # rows of each chunk that is launched

    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        if options.attention_window is not None:
            return super().open(encoded, noise, options)
        decoded = DecodedBatch(self.acoustic.manifest, encoded.memory_mask, [noise], options)
        return DeviceRow(encoded, noise, decoded, self._steps)

    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        separate = [row for row in rows if not isinstance(row, DeviceRow)]
        steps = 0
        if separate:
            with _told(separate):
                steps = super().advance(separate, n_steps)
        begun = bool(self._unread)
        running = [row for row in rows if isinstance(row, DeviceRow) and row.launched < row.decoded.step_limit]
        running = [row for row in running if row.decoded.running]
        if running:
            self._launch(running)
        return self._read() if begun else steps

    def checked_batches(self) -> Iterator[Sequence[int]]:
        """For each token bucket, all numbers of items that an engine's batch is rounded up to."""
        manifest = self.acoustic.manifest
        for bucket in manifest.synthesis.token_buckets(manifest.range("T").max):
            for rows in doubling(1, self.max_rows):
                yield [max(1, bucket - i % 3) for i in range(rows)]

    def _launch(self, rows: list[DeviceRow]) -> None:
        """Launch a chunk. It is read even if that fails: chunks are read in the order of their launches."""
        self._unread.append(rows)
        with _told(rows):
            self._steps.launch({row.number: row.launched for row in rows})
        for row in rows:
            row.launched += self._steps.chunk_steps

    def _read(self) -> int:
        """Record the oldest chunk that is launched."""
        rows = self._unread.pop(0)
        with _told(rows):
            chunks = self._steps.read()
            for row in rows:
                if row.failure is None and row.decoded.running:
                    row.decoded.record(chunks[row.number])
                    if not row.decoded.running:
                        row.leave()
        return self._steps.chunk_steps


def new_row_decoder(acoustic: AcousticModel, max_rows: int, profile: Profile) -> RowDecoder:
    """Make the decoder in which rows share steps if they can."""
    steps = acoustic.row_steps(max_rows, profile)
    decoder = SharedRows(acoustic, max_rows) if steps is None else DeviceRows(acoustic, max_rows, steps)
    if (steps is not None and steps.is_exact) or share_steps(decoder):
        return decoder
    return SeparateRows(acoustic, max_rows)


def share_steps(decoder: RowDecoder) -> bool:
    """True if a decoder's rows of every length speak the same bits alone and in any batch on this machine.

    Decodes a few steps of made-up items, alone and in batches.
    """
    acoustic, symbols = decoder.acoustic, len(decoder.acoustic.manifest.text.symbols)

    @cache
    def make_up(tokens: int, seed: int) -> tuple[EncoderOutput, NDArray[np.float32]]:
        encoded = acoustic.encode([[i % symbols for i in range(tokens)]])
        return encoded, _decode(SeparateRows(acoustic, 1), [(encoded, Noise(seed))])[0]

    def is_same(batch: Sequence[int]) -> bool:
        seeds = [i % 3 for i in range(len(batch))]
        items = [make_up(tokens, seed) for tokens, seed in zip(batch, seeds, strict=True)]
        together = _decode(decoder, [(encoded, Noise(seed)) for (encoded, _), seed in zip(items, seeds, strict=True)])
        return all(np.array_equal(alone, mel) for (_, alone), mel in zip(items, together, strict=True))

    return all(map(is_same, decoder.checked_batches()))


def _decode(decoder: RowDecoder, items: Sequence[tuple[EncoderOutput, Noise]]) -> list[NDArray[np.float32]]:
    """The mels [F, M] of the first steps of some items, decoded together."""
    manifest = decoder.acoustic.manifest
    frames = min(CHECKED_STEPS * manifest.decoder.frames_per_step, manifest.decoder.max_frames)
    options = replace(SpeechOptions(max_frames=frames).resolve(manifest), gate_logit=math.inf)
    rows = [decoder.open(encoded, noise, options) for encoded, noise in items]
    while any(row.decoded.running for row in rows):
        decoder.advance(rows, options.frame_limit // manifest.decoder.frames_per_step)
        for row in rows:
            if row.failure is not None:
                raise row.failure
    return [row.decoded.mel[0] for row in rows]
