"""The autoregressive decoder loop: step after step, until every item's gate has fired.

A step makes the voice's `frames_per_step` frames, one gate and one row of the alignment; lengths and limits count
frames and are whole steps. Frames are written in place, into memory that exists before the first step. An item's
result does not depend on what else is in its batch; where the loop goes on for the others, its frames are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .audio import StopReason
from .manifest import Manifest
from .options import SpeechOptions
from .steps import Chunk, Steps

ATTENTION_PATIENCE = 24  # frames that the attention stays on the last token before that counts as the end


@dataclass(frozen=True)
class DecodedItem:
    """What the loop made of one item; F counts the frames of the step at which its gate fired, if it did.

    What a step says of the gate and the attention stands for each of its frames.
    """

    mel: NDArray[np.float32]  # [M, F], before the postnet
    gate_logits: NDArray[np.float32]  # [F]
    alignment: NDArray[np.float32]  # [F, T]
    mel_length: int  # frames before the gate fired
    stop_reason: StopReason


class DecoderSession:
    """One batch being decoded; `advance` can be called until nothing is running, and a session be dropped any time."""

    def __init__(
        self, steps: Steps, manifest: Manifest, memory_mask: NDArray[np.bool_], options: SpeechOptions
    ) -> None:
        """steps: of the batch, from its first. memory_mask [B, T]: true where the padding is."""
        self.step = 0  # steps done
        self._started = 0  # steps done or under way
        self._steps, self._options = steps, options
        self._tokens = (~memory_mask).sum(1)
        self._frames_per_step = manifest.decoder.frames_per_step
        limit, self._threshold = options.frame_limit(manifest), options.gate_logit(manifest)
        self._step_limit = limit // self._frames_per_step
        batch, tokens = memory_mask.shape
        self.mel = np.empty((batch, limit, manifest.audio.n_mel_channels), np.float32)
        self._step_mels = self.mel.reshape(batch, self._step_limit, -1)  # the same memory, by step
        self._gate_logits = np.empty((batch, self._step_limit), np.float32)
        self._alignments = np.empty((batch, self._step_limit, tokens), np.float32)
        self._running = np.ones(batch, dtype=bool)
        self._gated = np.zeros(batch, dtype=bool)
        self._at_end = np.zeros(batch, np.int32)  # frames for which the attention has been on the last token
        self._attended = np.zeros(batch, dtype=bool)  # to the end, which has ended the item
        self.mel_lengths = np.zeros(batch, np.int32)
        self.frames_decoded = np.zeros(batch, np.int32)

    @property
    def running(self) -> bool:
        return bool(self._running.any()) and self.step < self._step_limit

    @property
    def frame(self) -> int:
        """Frames done."""
        return self.step * self._frames_per_step

    def advance(self, n_frames: int) -> bool:
        """Decode n_frames more frames, in whole steps; whether any item is still running. Raises Cancelled."""
        end = self.frame + n_frames
        while self.running and self.frame < end:
            self._options.check_cancelled()
            self._start_ahead()
            self._record(self._steps.collect())
        return self.running

    def _start_ahead(self) -> None:
        ahead = self.step + self._steps.chunks_ahead * self._steps.chunk_steps
        while self._started <= ahead and self._started < self._step_limit:
            self._steps.start(self._started)
            self._started += self._steps.chunk_steps

    def _record(self, chunk: Chunk) -> None:
        """Keep what a chunk made; what is beyond the limit, or an item's end, does not count."""
        n = min(len(chunk.gate_logits), self._step_limit - self.step)
        done = slice(self.step, self.step + n)
        self._step_mels[:, done] = chunk.mel[:n].swapaxes(0, 1)
        self._gate_logits[:, done] = chunk.gate_logits[:n].T
        self._alignments[:, done] = chunk.attention_weights[:n].swapaxes(0, 1)
        for gate_logits, attention_weights in zip(chunk.gate_logits[:n], chunk.attention_weights[:n], strict=True):
            self._count(gate_logits, attention_weights)
        self.step += n

    def _count(self, gate_logits: NDArray[np.float32], attention_weights: NDArray[np.float32]) -> None:
        """One step: whose frames still count, and whom its gate [B] or its attention [B, T] ends."""
        frames = self._frames_per_step
        self.frames_decoded += frames * self._running
        self._gated |= self._running & (gate_logits > self._threshold)
        self._running &= ~self._gated
        self.mel_lengths += frames * self._running
        if self._options.attention_stop:
            at_last = attention_weights.argmax(1) == self._tokens - 1
            self._at_end = np.where(at_last, self._at_end + frames, 0)
            self._attended |= self._running & (self._at_end >= ATTENTION_PATIENCE)
            self._running &= ~self._attended

    def item(self, i: int) -> DecodedItem:
        end, length, frames = int(self.frames_decoded[i]), int(self.mel_lengths[i]), self._frames_per_step
        reason: StopReason = "gate" if self._gated[i] else "attention_end" if self._attended[i] else "frame_limit"
        return DecodedItem(
            mel=np.ascontiguousarray(self.mel[i, :end].T),
            gate_logits=self._gate_logits[i, : end // frames].repeat(frames),
            alignment=self._alignments[i, : end // frames, : self._tokens[i]].repeat(frames, axis=0),
            mel_length=length,
            stop_reason=reason,
        )
