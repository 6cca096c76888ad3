"""Rows of a running decoder: each is decoded some steps at a time, beside whichever others are chosen.

On the CPU, rows share decoder steps. A row keeps its own step number, by which its dropout is drawn, and its own
states, which are copied out and in whenever the set of rows changes; it therefore speaks what it would speak alone.
Whether that holds to the bit for rows of other token buckets, or for batches at all, is up to the machine's kernels,
so it is checked before the first request. On a GPU, where a running batch is part of captured graphs, each row has a
batch of its own, and they take turns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..acoustic import AcousticModel, pad_and_stack, token_bucket
from ..decoder import Chunk, DecodedBatch, DecoderSession, EncoderOutput, HostSteps
from ..noise import Noise
from ..options import ResolvedOptions, SpeechOptions

Sharing = Literal["all", "bucket", "none"]  # rows that may share steps: any, those of one token bucket, none
CHECKED_STEPS = 24
CHECKED_BATCHES = (2, 3)  # and the largest


class Row:
    """One item that is being decoded."""

    def __init__(self, encoded: EncoderOutput, noise: Noise, decoded: DecodedBatch) -> None:
        """encoded, decoded: batches of one."""
        self.encoded, self.noise, self.decoded = encoded, noise, decoded
        self.states: Mapping[str, NDArray[Any]] | None = None  # while it is not in the running batch; None: zeros

    @property
    def bucket(self) -> int:
        """The padded token count."""
        return int(self.encoded.memory.shape[1])


class RowDecoder(ABC):
    """Decodes rows."""

    sharing: Sharing

    def __init__(self, acoustic: AcousticModel, max_rows: int) -> None:
        self.acoustic, self.max_rows = acoustic, max_rows

    @abstractmethod
    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        """Begin a row. encoded: a batch of one, at its token bucket."""

    @abstractmethod
    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        """Decode up to n_steps more steps of running rows that may share them, fewer if one of them ends; returns how
        many."""


class SharedRows(RowDecoder):
    """Rows that share decoder steps on the host."""

    def __init__(self, acoustic: AcousticModel, max_rows: int, sharing: Sharing | None = None) -> None:
        """sharing: None: as the check finds."""
        super().__init__(acoustic, max_rows)
        self._rows: list[Row] = []  # the running batch
        self.sharing = sharing or find_sharing(acoustic, max_rows)

    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        return Row(encoded, noise, DecodedBatch(self.acoustic.manifest, encoded.memory_mask, [noise], options))

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
        self._steps: HostSteps = self.acoustic.decoder_steps(
            pad_and_stack([row.encoded for row in rows], tokens),
            [row.noise for row in rows],
            first_steps=[row.decoded.step for row in rows],
            states=states,
        )
        self._rows, self._step = list(rows), 0


class SeparateRows(RowDecoder):
    """Rows with a batch each, in turn; for backends whose graphs run on a GPU."""

    sharing: Sharing = "all"

    def open(self, encoded: EncoderOutput, noise: Noise, options: ResolvedOptions) -> Row:
        # Whoever schedules rows checks for cancelled requests: one of them must not end the others' chunk.
        unchecked = replace(options, cancelled=None, deadline=None)
        return Row(encoded, noise, self.acoustic.session(encoded, [noise], unchecked))

    def advance(self, rows: Sequence[Row], n_steps: int) -> int:
        for row in rows:
            assert isinstance(row.decoded, DecoderSession)
            row.decoded.advance(n_steps * self.acoustic.manifest.decoder.frames_per_step)
        return n_steps


def find_sharing(acoustic: AcousticModel, max_rows: int) -> Sharing:
    """Decode a few steps of a short and a long item alone, in batches, and at the longer one's padding, and compare
    the bits."""
    longest = acoustic.manifest.range("T").max
    lengths = (min(5, longest), min(9, longest), longest)
    alone = [_decode(acoustic, [length])[0] for length in lengths]

    def is_same(items: Sequence[int]) -> bool:
        together = _decode(acoustic, [lengths[i] for i in items])
        return all(np.array_equal(alone[i], mel) for i, mel in zip(items, together, strict=True))

    sizes = sorted({*CHECKED_BATCHES, max_rows} & set(range(2, max_rows + 1)))
    short = [i for i in (0, 1) if token_bucket(lengths[i], acoustic.manifest) == token_bucket(1, acoustic.manifest)]
    if not all(is_same([short[k % len(short)] for k in range(n)]) for n in sizes):
        return "none"
    return "all" if all(is_same([(0, 2, 1)[k % 3] for k in range(n)]) for n in sizes) else "bucket"


def _decode(acoustic: AcousticModel, lengths: Sequence[int]) -> list[NDArray[np.float32]]:
    """The mels [F, M] of made-up items of these token counts, decoded in one batch."""
    manifest = acoustic.manifest
    frames = min(CHECKED_STEPS * manifest.decoder.frames_per_step, manifest.decoder.max_frames)
    options = replace(SpeechOptions(max_frames=frames).resolve(manifest), gate_logit=math.inf)
    decoder = SharedRows(acoustic, len(lengths), "all")
    symbols = len(manifest.text.symbols)
    made_up = [[i % symbols for i in range(length)] for length in lengths]
    rows = [decoder.open(acoustic.encode([ids]), Noise(len(ids)), options) for ids in made_up]
    decoder.advance(rows, options.frame_limit // manifest.decoder.frames_per_step)
    return [row.decoded.mel[0] for row in rows]
