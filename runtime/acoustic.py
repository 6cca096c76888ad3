"""The acoustic model, token ids -> mel: the encoder, the decoder loop and the postnet of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..text.symbols import is_letter
from .backends.base import Backend
from .decoder import (
    DecodedBatch,
    DecodedItem,
    DecoderSession,
    DecoderSteps,
    EncoderOutput,
    Profile,
    RowSteps,
)
from .host_steps import AttentionWindow, HostSteps
from .noise import Noise
from .options import ResolvedOptions
from .quality import Fault, judge, severity


class AcousticModel:
    """Encodes and decodes batches of token ids, and applies the postnet."""

    def __init__(self, backend: Backend) -> None:
        self.manifest = backend.manifest
        self._letters = np.array(list(map(is_letter, self.manifest.text.symbols)))  # by token id
        self._pads_token_ids = backend.pads_token_ids
        self._encoder = backend.open("encoder")
        self._decoder_step = backend.open("decoder_step")
        self._postnet = backend.open("postnet")

    def encode(self, ids: Sequence[Sequence[int]]) -> EncoderOutput:
        """Token ids of each item -> the encoder output that the decoder attends to.

        Items are encoded one by one and padded afterwards: the encoder's kernels round differently at a different
        padded length, and the decoder loop would amplify that until an item's speech depends on its batch. A backend
        that pads token ids gets each item at the length of its own token bucket instead.
        """
        tokens = self.manifest.token_bucket(max(len(item) for item in ids))
        return pad_and_stack([self._encode_one(item) for item in ids], tokens)

    def group_into_batches(self, lengths: Mapping[int, int]) -> list[list[int]]:
        """Token counts by index of item -> batches of indices: one token bucket each, within the batch limit."""
        most = self.manifest.range("B").max
        buckets: dict[int, list[int]] = {}
        for i, length in lengths.items():
            buckets.setdefault(self.manifest.token_bucket(length), []).append(i)
        return [group[start : start + most] for group in buckets.values() for start in range(0, len(group), most)]

    def _encode_one(self, ids: Sequence[int]) -> EncoderOutput:
        padded = np.zeros((1, self.manifest.token_bucket(len(ids)) if self._pads_token_ids else len(ids)), np.int32)
        padded[0, : len(ids)] = ids
        return EncoderOutput(**self._encoder.run(token_ids=padded, token_lengths=np.array([len(ids)], np.int32)))

    def session(self, encoded: EncoderOutput, noises: Sequence[Noise], options: ResolvedOptions) -> DecoderSession:
        """Start decoding a batch; noises: one per item.

        A window of the attention moves between two steps, so with one, steps are launched one by one from the host.
        """
        steps: DecoderSteps
        if options.attention_window is None:
            steps = self._decoder_step.decoder_steps(encoded, noises, options.gate_logit)
        else:
            window = AttentionWindow(encoded.memory_mask, [options.attention_window] * len(noises))
            steps = self.decoder_steps(encoded, noises, window)
        return DecoderSession(steps, DecodedBatch(self.manifest, encoded.memory_mask, noises, options), options)

    def decoder_steps(
        self, encoded: EncoderOutput, noises: Sequence[Noise], window: AttentionWindow | None = None, **resumed: Any
    ) -> HostSteps:
        """Decoder steps on the host that begin where `resumed` says: HostSteps' first_steps and states."""
        return HostSteps(self._decoder_step.bind, self.manifest, encoded, noises, window, **resumed)

    def row_steps(self, max_rows: int, profile: Profile) -> RowSteps | None:
        """Decoder steps that rows share on a device, if there are such."""
        return self._decoder_step.row_steps(max_rows, profile)

    def decode(
        self, ids: Sequence[Sequence[int]], encoded: EncoderOutput, noises: Sequence[Noise], options: ResolvedOptions
    ) -> list[DecodedItem]:
        """Decode a batch to its end; noises: one per item.

        Items that are not good speech are decoded again with new noise, up to options.retries times; the best try of
        each is returned.
        """
        rows = list(range(len(noises)))
        best: dict[int, DecodedItem] = {}
        for attempt in range(options.retries + 1):
            session = self.session(encoded, [noises[i].for_attempt(attempt) for i in rows], options)
            session.advance(options.frame_limit)
            for row, i in enumerate(rows):
                best[i] = self.better(ids[i], best.get(i), session.decoded.item(row))
            if attempt == options.retries:
                break
            again = [row for row, i in enumerate(rows) if self.severity(ids[i], best[i])]
            if not again:
                break
            rows, encoded = [rows[row] for row in again], encoded.rows(again)
        return [best[i] for i in range(len(noises))]

    def better(self, ids: Sequence[int], before: DecodedItem | None, item: DecodedItem) -> DecodedItem:
        """Of two tries at the same token ids, the one with fewer faults, otherwise the first."""
        return item if before is None or self.severity(ids, item) < self.severity(ids, before) else before

    def faults(self, ids: Sequence[int], item: DecodedItem) -> tuple[Fault, ...]:
        """Judge a decoded item of these token ids.

        Of a voice whose sentences could not be measured at export, the attention says nothing; only its end is judged.
        """
        is_cut_off = item.stop_reason == "frame_limit"
        if self.manifest.decoder.ending is None:
            return (Fault("cut_off", 0, len(ids)),) if is_cut_off or not item.mel_length else ()
        return judge(item.alignment[: item.mel_length], is_cut_off, self._letters[list(ids)])

    def severity(self, ids: Sequence[int], item: DecodedItem) -> int:
        return severity(self.faults(ids, item), len(ids))

    def postnet(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mel [M, F] -> mel with the residual added [M, F]."""
        frames = mel.shape[1]
        padded = np.zeros((1, mel.shape[0], self._postnet.window_size(frames)), np.float32)
        padded[0, :, :frames] = mel
        outputs = self._postnet.run(mel=padded, mel_lengths=np.array([frames], np.int32))
        mel_postnet: NDArray[np.float32] = outputs["mel_postnet"][0, :, :frames]
        return mel_postnet


def pad_and_stack(items: Sequence[EncoderOutput], tokens: int) -> EncoderOutput:
    """Encoder outputs of one item each, of different T -> those of one batch, padded to `tokens`."""
    return EncoderOutput(
        memory=_pad_and_stack([item.memory for item in items], tokens),
        processed_memory=_pad_and_stack([item.processed_memory for item in items], tokens),
        memory_mask=_pad_and_stack([item.memory_mask for item in items], tokens, padding=True),
    )


def _pad_and_stack(items: Sequence[NDArray[Any]], tokens: int, padding: float = 0.0) -> NDArray[Any]:
    """Arrays [1, T, ...] of different T -> one array [B, tokens, ...]."""
    stacked = np.full((len(items), tokens, *items[0].shape[2:]), padding, items[0].dtype)
    for row, item in zip(stacked, items, strict=True):
        row[: item.shape[1]] = item[0]
    return stacked
