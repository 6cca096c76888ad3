"""Decoder steps on the host, one by one, and the window of the attention, which moves between two of them.

Dimension letters as in decoder.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle.manifest import Manifest
from .decoder import Chunk, DecoderSteps, EncoderOutput, draw_dropout
from .noise import Noise

WINDOW_BEHIND = 2  # tokens before the furthest one that a window still shows
DROPOUT_STEPS = 64  # decoder steps per generated block of dropout masks


class AttentionWindow:
    """Restricts each item's attention to a window that only moves forward, by masking the tokens outside of it.

    The window spans from WINDOW_BEHIND tokens before the furthest one that the attention has rested on to a number of
    tokens after it. The mask is that of decoder_step's padding, so the graph is the same with and without a window.
    """

    def __init__(
        self, memory_mask: NDArray[np.bool_], ahead: Sequence[int | None], reached: Sequence[int] | None = None
    ) -> None:
        """memory_mask [B, T]: true at padding. ahead: tokens of each item's window; None: no window.

        reached: each item's furthest token, if it has been decoded in part.
        """
        self._padding, tokens = memory_mask, memory_mask.shape[1]
        self._ahead = np.array([tokens if n is None else n for n in ahead])
        self._behind = np.array([tokens if n is None else WINDOW_BEHIND for n in ahead])
        self._tokens = np.arange(tokens)
        self.reached = np.array(reached or [0] * len(ahead))
        self.mask = memory_mask.copy()  # [B, T], true at what the next step may not attend to
        self._apply()

    def move(self, attention_weights: NDArray[np.float32]) -> None:
        """Move each window to where a step's attention [B, T] rests, if that is further on."""
        reached = np.maximum(self.reached, attention_weights.argmax(1))
        if not np.array_equal(reached, self.reached):
            self.reached = reached
            self._apply()

    def _apply(self) -> None:
        distance = self._tokens - self.reached[:, None]
        outside = (distance > self._ahead[:, None]) | (distance < -self._behind[:, None])
        np.logical_or(outside, self._padding, out=self.mask)


class HostSteps(DecoderSteps):
    """Steps on the host, one per chunk, over two sets of states: even steps read set 0 and write set 1, odd steps the
    reverse."""

    chunk_steps = 1
    launches_in_flight = 1

    def __init__(
        self,
        bind: Callable[[Mapping[str, NDArray[Any]]], Callable[[], None]],
        manifest: Manifest,
        encoded: EncoderOutput,
        noises: Sequence[Noise],
        window: AttentionWindow | None = None,
        first_steps: Sequence[int] | None = None,
        states: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """bind: accepts buffers of decoder_step by name and returns the call that runs it over them, in place.

        For items that have been decoded in part: first_steps: each item's own step at which these steps begin;
        states: its states there, by the name of the decoder's input, which are copied.
        """
        self.window = window
        self._noises, self._first_steps = noises, first_steps or [0] * len(noises)
        batch, tokens, _ = encoded.memory.shape
        tensors, pairs = manifest.graphs["decoder_step"].tensors, manifest.decoder.states

        def zeros(name: str) -> NDArray[Any]:
            return np.zeros(tensors[name].resolve({"B": batch, "T": tokens}), tensors[name].dtype)

        self._dropout = zeros("prenet_dropout")
        self._dropout_block = np.zeros((DROPOUT_STEPS, *self._dropout.shape), np.float32)
        fixed = dict(vars(encoded), prenet_dropout=self._dropout, gate_logit=zeros("gate_logit"))
        if window is not None:
            fixed["memory_mask"] = window.mask
        sets = self._sets = [{name: zeros(name) for name in pairs} for _ in range(2)]
        for name, array in (states or {}).items():
            sets[0][name][:] = array
        self._last = -1  # step
        self._calls: list[Callable[[], None]] = []
        self._chunks: list[Chunk] = []
        for source, target in (sets, reversed(sets)):
            written = {output: target[name] for name, output in pairs.items()}
            self._calls.append(bind({**fixed, **source, **written}))
            self._chunks.append(
                Chunk(
                    mel=written["mel_frame"][None],
                    gate_logits=fixed["gate_logit"].T,
                    attention_weights=written["attention_weights_out"][None],
                )
            )

    def launch(self, first_step: int) -> None:
        slot = first_step % DROPOUT_STEPS
        if slot == 0:
            for i, (noise, own) in enumerate(zip(self._noises, self._first_steps, strict=True)):
                draw_dropout(self._dropout_block[:, i : i + 1], own + first_step, [noise])
        self._dropout[:] = self._dropout_block[slot]
        self._calls[first_step % 2]()
        self._last = first_step
        if self.window is not None:
            self.window.move(self._chunks[first_step % 2].attention_weights[0])

    def read(self) -> Chunk:
        return self._chunks[self._last % 2]

    @property
    def states(self) -> Mapping[str, NDArray[Any]]:
        """The states after the last step launched, by the name of the decoder's input: [B, ...]."""
        return self._sets[(self._last + 1) % 2]
