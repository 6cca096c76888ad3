"""The autoregressive decoder loop: one graph run a frame, until every item's gate has fired.

Buffers exist before the first step: states ping-pong between two sets, frames are written in place. An item's
result does not depend on what else is in its batch; where the loop goes on for the others, its frames are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backends.base import Array, Call, GraphRunner
from .errors import RequestError
from .manifest import Manifest
from .noise import Noise

DROPOUT_CHUNK = 64  # frames whose dropout is drawn at once


@dataclass(frozen=True)
class DecodeOptions:
    gate_threshold: float  # probability above which a gate has fired
    max_frames: int  # frame limit of an utterance

    def check(self, manifest: Manifest) -> None:
        if not 0.0 < self.gate_threshold < 1.0:
            raise RequestError(f"gate threshold: expected a probability between 0 and 1, got {self.gate_threshold}")
        limit = manifest.decoder.max_frames
        if not 1 <= self.max_frames <= limit:
            raise RequestError(
                f"max frames: expected 1 to {limit} (this bundle's limit), got {self.max_frames}; "
                "a longer one needs export-onnx --max-frames"
            )


@dataclass(frozen=True)
class EncoderOutput:
    memory: NDArray[np.float32]  # [B, T, E]
    processed_memory: NDArray[np.float32]  # [B, T, A]
    memory_mask: NDArray[np.bool_]  # [B, T], true where the padding is


@dataclass(frozen=True)
class Decoded:
    """Frames of a batch; those past an item's own end are zero."""

    mel: NDArray[np.float32]  # [B, M, F], before the postnet
    gate_logits: NDArray[np.float32]  # [B, F]
    alignments: NDArray[np.float32]  # [B, F, T]
    mel_lengths: NDArray[np.int32]  # [B]: frames before the gate fired
    frames_decoded: NDArray[np.int32]  # [B]: mel_lengths, plus the frame at which the gate fired, if it did


class DecoderLoop:
    def __init__(self, step: GraphRunner, manifest: Manifest) -> None:
        self.step = step
        self.manifest = manifest

    def decode(self, encoded: EncoderOutput, noises: Sequence[Noise], options: DecodeOptions) -> Decoded:
        """Decode a batch; noises has the generator of each item's dropout."""
        options.check(self.manifest)
        threshold = math.log(options.gate_threshold / (1.0 - options.gate_threshold))  # as a logit
        buffers = _StepBuffers(self.step, self.manifest, encoded)
        frames = _Frames(encoded, self.manifest, options.max_frames)
        running = np.ones(len(noises), dtype=bool)
        for frame in range(options.max_frames):
            buffers.set_dropout(frame, noises)
            outputs = buffers.run(frame)
            frames.write(frame, outputs)
            frames.frames_decoded += running
            running &= outputs["gate_logit"][:, 0] <= threshold
            frames.mel_lengths += running
            if not running.any():
                break
        return frames.trimmed()


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


class _Frames:
    """What the loop records, at the size of the frame limit."""

    def __init__(self, encoded: EncoderOutput, manifest: Manifest, max_frames: int) -> None:
        batch, tokens, _ = encoded.memory.shape
        self.mel = np.empty((batch, max_frames, manifest.audio.n_mel_channels), np.float32)
        self.gate_logits = np.empty((batch, max_frames), np.float32)
        self.alignments = np.empty((batch, max_frames, tokens), np.float32)
        self.mel_lengths = np.zeros(batch, np.int32)
        self.frames_decoded = np.zeros(batch, np.int32)

    def write(self, frame: int, outputs: dict[str, Array]) -> None:
        self.mel[:, frame] = outputs["mel_frame"]
        self.gate_logits[:, frame] = outputs["gate_logit"][:, 0]
        self.alignments[:, frame] = outputs["attention_weights_out"]

    def trimmed(self) -> Decoded:
        used = int(self.frames_decoded.max())
        for i, end in enumerate(self.frames_decoded):
            self.mel[i, end:used] = self.gate_logits[i, end:used] = self.alignments[i, end:used] = 0.0
        mel = np.ascontiguousarray(self.mel[:, :used].transpose(0, 2, 1))
        return Decoded(
            mel, self.gate_logits[:, :used], self.alignments[:, :used], self.mel_lengths, self.frames_decoded
        )
