"""The autoregressive decoder loop: one graph run a frame, until every item's gate has fired.

Buffers exist before the first step: states ping-pong between two sets, frames are written in place. An item's
result does not depend on what else is in its batch; where the loop goes on for the others, its frames are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .audio import StopReason
from .backends.base import Array, Call, GraphRunner
from .manifest import Manifest
from .noise import Noise
from .options import SpeechOptions

DROPOUT_CHUNK = 64  # frames whose dropout is drawn at once
CANCEL_CHUNK = 64  # frames between two looks at whether the caller has cancelled
ATTENTION_PATIENCE = 24  # frames that the attention stays on the last token before that counts as the end


@dataclass(frozen=True)
class EncoderOutput:
    memory: NDArray[np.float32]  # [B, T, E]
    processed_memory: NDArray[np.float32]  # [B, T, A]
    memory_mask: NDArray[np.bool_]  # [B, T], true where the padding is

    def items(self, rows: Sequence[int]) -> EncoderOutput:
        """The batch of these rows alone, at the same padding."""
        return EncoderOutput(*(np.ascontiguousarray(array[list(rows)]) for array in vars(self).values()))


@dataclass(frozen=True)
class DecodedItem:
    """What the loop made of one item; F counts the frame at which its gate fired, if it did."""

    mel: NDArray[np.float32]  # [M, F], before the postnet
    gate_logits: NDArray[np.float32]  # [F]
    alignment: NDArray[np.float32]  # [F, T]
    mel_length: int  # frames before the gate fired
    stop_reason: StopReason


class DecoderSession:
    """One batch being decoded; `advance` can be called until nothing is running, and a session be dropped any time."""

    def __init__(
        self,
        step: GraphRunner,
        manifest: Manifest,
        encoded: EncoderOutput,
        noises: Sequence[Noise],
        options: SpeechOptions,
    ) -> None:
        self.frame = 0  # steps done
        self._noises, self._options = noises, options
        self._limit, self._threshold = options.frame_limit(manifest), options.gate_logit(manifest)
        self._buffers = _StepBuffers(step, manifest, encoded)
        batch, tokens, _ = encoded.memory.shape
        self._tokens = (~encoded.memory_mask).sum(1)
        self.mel = np.empty((batch, self._limit, manifest.audio.n_mel_channels), np.float32)
        self.gate_logits = np.empty((batch, self._limit), np.float32)
        self.alignments = np.empty((batch, self._limit, tokens), np.float32)
        self._running = np.ones(batch, dtype=bool)
        self._gated = np.zeros(batch, dtype=bool)
        self._at_end = np.zeros(batch, np.int32)  # frames for which the attention has been on the last token
        self.mel_lengths = np.zeros(batch, np.int32)
        self.frames_decoded = np.zeros(batch, np.int32)

    @property
    def running(self) -> bool:
        return bool(self._running.any()) and self.frame < self._limit

    def advance(self, n_frames: int) -> bool:
        """Decode up to n_frames more frames; whether any item is still running. Raises Cancelled."""
        end = self.frame + n_frames
        while self.running and self.frame < end:
            if self.frame % CANCEL_CHUNK == 0:
                self._options.check_cancelled()
            self._buffers.set_dropout(self.frame, self._noises)
            self._record(self._buffers.run(self.frame))
            self.frame += 1
        return self.running

    def _record(self, outputs: dict[str, Array]) -> None:
        gate = outputs["gate_logit"][:, 0]
        self.mel[:, self.frame] = outputs["mel_frame"]
        self.gate_logits[:, self.frame] = gate
        self.alignments[:, self.frame] = outputs["attention_weights_out"]
        self.frames_decoded += self._running
        self._gated |= self._running & (gate > self._threshold)
        self._running &= ~self._gated
        self.mel_lengths += self._running
        if self._options.attention_stop:
            self._at_end = np.where(outputs["attention_weights_out"].argmax(1) == self._tokens - 1, self._at_end + 1, 0)
            self._running &= self._at_end < ATTENTION_PATIENCE

    def item(self, i: int) -> DecodedItem:
        end, length = int(self.frames_decoded[i]), int(self.mel_lengths[i])
        reason: StopReason = "gate" if self._gated[i] else "frame_limit"
        if self._at_end[i] >= ATTENTION_PATIENCE and not self._gated[i]:
            reason = "attention_end"
        alignment = self.alignments[i, :end, : self._tokens[i]]
        return DecodedItem(
            np.ascontiguousarray(self.mel[i, :end].T), self.gate_logits[i, :end], alignment, length, reason
        )


class _StepBuffers:
    """Two sets of state buffers and the step bound both ways: even frames read set 0 and write set 1."""

    def __init__(self, step: GraphRunner, manifest: Manifest, encoded: EncoderOutput) -> None:
        batch, tokens, _ = encoded.memory.shape
        dims = {"B": batch, "T": tokens}
        tensors = step.spec.tensors
        decoder = manifest.decoder
        shape = tensors["prenet_dropout"].resolve(dims)
        self._drawn = np.zeros((DROPOUT_CHUNK, *shape), np.float32)
        self._dropout = np.zeros(shape, np.float32)
        fixed: dict[str, Array] = dict(vars(encoded), prenet_dropout=self._dropout)
        fixed["gate_logit"] = np.zeros(tensors["gate_logit"].resolve(dims), np.float32)
        sets = [
            {name: np.zeros(tensors[name].resolve(dims), tensors[name].dtype) for name in decoder.states}
            for _ in range(2)
        ]
        self._calls: list[Call] = []
        self._outputs: list[dict[str, Array]] = []
        for source, target in (sets, reversed(sets)):
            written = {output: target[name] for name, output in decoder.states.items()}
            self._calls.append(step.bind({**fixed, **source, **written}))
            self._outputs.append({**written, "gate_logit": fixed["gate_logit"]})

    def set_dropout(self, frame: int, noises: Sequence[Noise]) -> None:
        slot = frame % DROPOUT_CHUNK
        if slot == 0:
            _, _, layers, width = self._drawn.shape
            for i, noise in enumerate(noises):
                self._drawn[:, i] = noise.prenet_dropout(frame, DROPOUT_CHUNK, layers, width)
        self._dropout[:] = self._drawn[slot]

    def run(self, frame: int) -> dict[str, Array]:
        """Run the step of `frame`; the outputs stay valid until the step after the next."""
        self._calls[frame % 2]()
        return self._outputs[frame % 2]
