"""The autoregressive decoder loop: chunk after chunk of steps, until every item's gate has fired.

    while any item runs:                                       # DecoderSession.advance
        raise Cancelled if the request is
        launch the next chunks, so that a GPU always has one   # DecoderSteps.launch
            dropout = each item's own noise at this step
            mel frames, gate, attention, states = decoder_step(last mel frame, states, dropout, encoder output)
        store the oldest chunk's frames, gates, attention      # DecodedBatch.record, of DecoderSteps.read
        end each item whose gate fires in one of its steps, or whose attention has stayed on the last token

A step decodes the voice's `frames_per_step` frames with one gate and one row of the alignment. Lengths and limits count
frames and are multiples of frames_per_step. Frames are written in place, into memory allocated before the first step.
An item's result does not depend on its batch: frames decoded after an item's end, for other items, are dropped.

Dimension letters: B batch, T tokens, F frames, M mel bands, E encoder width, A attention width, r frames per step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .bundle.manifest import Manifest
from .noise import Noise
from .options import ResolvedOptions

StopReason = Literal["gate", "attention_end", "frame_limit"]  # why an utterance ended


@dataclass(frozen=True)
class EncoderOutput:
    """The encoder's outputs for one batch; the fields are inputs of decoder_step, by name."""

    memory: NDArray[np.float32]  # [B, T, E]
    processed_memory: NDArray[np.float32]  # [B, T, A]
    memory_mask: NDArray[np.bool_]  # [B, T], true at padding

    def rows(self, rows: Sequence[int]) -> EncoderOutput:
        """A batch of these rows, at the same padding."""
        return EncoderOutput(*(np.ascontiguousarray(array[list(rows)]) for array in vars(self).values()))


@dataclass(frozen=True)
class Chunk:
    """Outputs of n decoder steps, r frames each."""

    mel: NDArray[np.float32]  # [n, B, r * M]
    gate_logits: NDArray[np.float32]  # [n, B]
    attention_weights: NDArray[np.float32]  # [n, B, T]


@dataclass(frozen=True)
class DecodedItem:
    """One item's result; F includes the frames of the step whose gate fired, if it did.

    The gate logit and the attention of a step are repeated for each of its frames.
    """

    mel: NDArray[np.float32]  # [M, F], before the postnet
    gate_logits: NDArray[np.float32]  # [F]
    alignment: NDArray[np.float32]  # [F, T]
    mel_length: int  # frames before the gate fired
    stop_reason: StopReason
    noise: Noise  # noise of this decoding attempt; the vocoder draws z from it


class DecodedBatch:
    """The frames of one batch decoded so far, and which of its items are still running."""

    def __init__(
        self, manifest: Manifest, memory_mask: NDArray[np.bool_], noises: Sequence[Noise], options: ResolvedOptions
    ) -> None:
        """memory_mask [B, T]: true at padding. noises: one per item."""
        self.step = 0  # steps read
        self.frames_per_step = manifest.decoder.frames_per_step
        self._noises, self._options = noises, options
        self._tokens = (~memory_mask).sum(1)
        limits = [options.frame_limit_of(int(tokens), self.frames_per_step) for tokens in self._tokens]
        self._step_limits = np.array(limits) // self.frames_per_step
        self.step_limit, self._least_limit = int(self._step_limits.max()), int(self._step_limits.min())
        batch, tokens = memory_mask.shape
        self.mel = np.empty((batch, max(limits), manifest.audio.n_mel_channels), np.float32)
        self._step_mels = self.mel.reshape(batch, self.step_limit, -1)  # the same memory, by step
        self._gate_logits = np.empty((batch, self.step_limit), np.float32)
        self._alignments = np.empty((batch, self.step_limit, tokens), np.float32)
        self.running = True  # any item is
        self._running = np.ones(batch, dtype=bool)
        self._gated = np.zeros(batch, dtype=bool)  # ended by the gate
        self._attended = np.zeros(batch, dtype=bool)  # ended by the attention
        # Consecutive frames with the attention on the last token.
        self._at_end: NDArray[np.int64] = np.zeros(batch, np.int64)
        self._ends = np.zeros(batch, np.int64)  # frames of those that have ended

    def record(self, chunk: Chunk) -> None:
        """Store a chunk's steps; steps after the frame limit or an item's end do not count."""
        n = len(chunk.gate_logits)
        if n > self.step_limit - self.step:
            n = self.step_limit - self.step
            chunk = Chunk(*(array[:n] for array in vars(chunk).values()))
        done = slice(self.step, self.step + n)
        self._step_mels[:, done] = chunk.mel.swapaxes(0, 1)
        self._gate_logits[:, done] = chunk.gate_logits.T
        self._alignments[:, done] = chunk.attention_weights.swapaxes(0, 1)
        if n > 0:
            self._end_items(chunk.gate_logits, chunk.attention_weights)
        self.step += n

    def _end_items(self, gate_logits: NDArray[np.float32], attention_weights: NDArray[np.float32]) -> None:
        """Stop the running items that end in n steps: by gate [n, B], attention [n, B, T] or limit.

        An item's first such step is its last; its gate counts first, and its frames not as speech.
        """
        is_fired, at_last = gate_logits > self._options.gate_logit, None
        if self._options.attention_patience is not None:
            at_last = attention_weights.argmax(2) == self._tokens - 1
        is_attended = at_last is not None and np.count_nonzero(at_last)
        if np.count_nonzero(is_fired) or is_attended or self.step + len(is_fired) >= self._least_limit:
            self._find_ends(is_fired, at_last)
        elif at_last is not None:
            self._at_end[:] = 0

    def _find_ends(self, is_fired: NDArray[np.bool_], at_last: NDArray[np.bool_] | None) -> None:
        """End the items that end in these n steps [n, B]."""
        patience = self._options.attention_patience
        gated_at = attended_at = _first(is_fired)
        last = np.minimum(gated_at, self._step_limits - self.step - 1)
        if at_last is not None and patience is not None:
            attended_at = _first(self._count_at_end(at_last) >= patience)
            last = np.minimum(last, attended_at)
        ends = self._running & (last < len(is_fired))
        gated = ends & (gated_at == last)
        self._ends[ends] = self.frames_per_step * (self.step + last[ends] + 1)
        self._gated |= gated
        self._attended |= ends & (attended_at == last) & ~gated
        self._running &= ~ends
        self.running = bool(self._running.any())

    def _count_at_end(self, at_last: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count, at each of n steps, the consecutive frames with the attention on the last token [n, B]."""
        steps = np.arange(1, len(at_last) + 1)[:, None]
        left = np.maximum.accumulate(np.where(at_last, 0, steps))  # the last step, counted from 1, that was elsewhere
        counts: NDArray[np.int64] = self.frames_per_step * (steps - left) + np.where(left == 0, self._at_end, 0)
        self._at_end = counts[-1]
        return counts

    @property
    def frames_decoded(self) -> NDArray[np.int64]:
        """Frames of each item, up to its end."""
        return np.where(self._running, self.frame, self._ends)

    @property
    def mel_lengths(self) -> NDArray[np.int64]:
        """Frames of each item before its gate fired."""
        lengths: NDArray[np.int64] = self.frames_decoded - self.frames_per_step * self._gated
        return lengths

    @property
    def gate_logit(self) -> float:
        """The gate logit above which an item ends."""
        return self._options.gate_logit

    @property
    def frame(self) -> int:
        """Frames read."""
        return self.step * self.frames_per_step

    def item(self, i: int) -> DecodedItem:
        end, length, frames = int(self.frames_decoded[i]), int(self.mel_lengths[i]), self.frames_per_step
        reason: StopReason = "gate" if self._gated[i] else "attention_end" if self._attended[i] else "frame_limit"
        return DecodedItem(
            mel=np.ascontiguousarray(self.mel[i, :end].T),
            gate_logits=self._gate_logits[i, : end // frames].repeat(frames),
            alignment=self._alignments[i, : end // frames, : self._tokens[i]].repeat(frames, axis=0),
            mel_length=length,
            stop_reason=reason,
            noise=self._noises[i],
        )


def _first(is_true: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the first true of n [n, B]; one beyond any step if there is none."""
    first: NDArray[np.int64] = np.where(is_true.any(0), is_true.argmax(0), np.iinfo(np.int64).max - 1)
    return first


class DecoderSession:
    """Decodes one batch incrementally: call `advance` until it returns False. May be abandoned at any time."""

    def __init__(self, steps: DecoderSteps, decoded: DecodedBatch, options: ResolvedOptions) -> None:
        """steps: the decoder steps of the batch, none launched yet. decoded: the batch, nothing decoded yet."""
        self.decoded = decoded
        self._steps, self._options = steps, options
        self._launched = 0  # steps launched, read or not

    def advance(self, n_frames: int) -> bool:
        """Decode n_frames more frames, in whole steps; returns True while any item is running. Raises Cancelled."""
        end = self._end(n_frames)
        while self.decoded.running and self.decoded.step < end:
            self._options.check_cancelled()
            self._launch_ahead(end)
            self.decoded.record(self._steps.read())
        return self.decoded.running

    def begin(self, n_frames: int) -> None:
        """Have a GPU decode towards n_frames more frames while the host does something else; a CPU does nothing now."""
        if self.decoded.running and self._steps.launches_in_flight > 1:
            self._launch_ahead(self._end(n_frames))

    def _end(self, n_frames: int) -> int:
        """The step at which n_frames more frames are there."""
        steps = -(-(self.decoded.frame + n_frames) // self.decoded.frames_per_step)
        return min(self.decoded.step_limit, steps)

    def _launch_ahead(self, end: int) -> None:
        """Keep launches_in_flight chunks launched, so that a GPU never waits for the host; none beyond step `end`."""
        ahead = self.decoded.step + self._steps.launches_in_flight * self._steps.chunk_steps
        while self._launched < min(ahead, end):
            self._steps.launch(self._launched)
            self._launched += self._steps.chunk_steps


class DecoderSteps(ABC):
    """Runs the decoder steps of one batch in chunks of equal size, which are launched ahead and read in order."""

    chunk_steps: ClassVar[int]  # decoder steps per chunk
    launches_in_flight: ClassVar[int]  # chunks launched before the oldest is read

    @abstractmethod
    def launch(self, first_step: int) -> None:
        """Launch the chunk that begins with first_step, which follows the last step launched."""

    @abstractmethod
    def read(self) -> Chunk:
        """Return the oldest chunk that is not read yet; its arrays are valid until the next launch or read."""


@dataclass(frozen=True)
class Profile:
    """How rows share decoder steps on a device."""

    max_rows: int | None  # that decode together; None: the bundle's batch limit
    engine_steps: int  # of a chunk, between two of which rows join and leave; even
    fused_steps: int  # the same of the fused decoder, whose steps are shorter


ProfileName = Literal["latency", "throughput"]
PROFILES: Mapping[ProfileName, Profile] = MappingProxyType(
    {
        "latency": Profile(max_rows=8, engine_steps=16, fused_steps=32),
        "throughput": Profile(max_rows=None, engine_steps=64, fused_steps=64),
    }
)


class RowSteps(ABC):
    """Runs the decoder steps of a running batch on a device; rows join and leave it between two chunks.

    What a row decodes does not depend on the others. Chunks are launched ahead and read in order.
    """

    is_exact: ClassVar[bool] = True  # false if that must be found out, on the machine
    chunk_steps: int  # decoder steps per chunk

    @abstractmethod
    def join(self, encoded: EncoderOutput, noise: Noise, gate_logit: float, step_limit: int) -> int:
        """Begin a row; returns its number. encoded: a batch of one. gate_logit, step_limit: what ends it."""

    @abstractmethod
    def leave(self, row: int) -> None:
        """End a row, whose number may be given to another."""

    @abstractmethod
    def launch(self, rows: Mapping[int, int]) -> None:
        """Launch a chunk. rows: the first step of each row that takes part; the others' states stay.

        If it raises, the chunk is to be read all the same; it has the rows that were launched until then.
        """

    @abstractmethod
    def read(self) -> Mapping[int, Chunk]:
        """Return the oldest chunk that is not read yet, by row: batches of one, at the row's own tokens.

        Its arrays are valid until the next launch.
        """


def draw_dropout(block: NDArray[np.float32], first_step: int, noises: Sequence[Noise]) -> None:
    """Fill block [n, B, layers, width] with the dropout of n steps, each item's from its own noise."""
    steps, _, layers, width = block.shape
    for i, noise in enumerate(noises):
        block[:, i] = noise.prenet_dropout(first_step, steps, layers, width)
