"""Token ids -> mel: the encoder, the decoder loop and the postnet of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends.base import Backend
from .decoder import DecodedItem, DecoderSession
from .device.loop import DeviceLoop
from .device.runner import DeviceGraphRunner
from .manifest import Manifest
from .noise import Noise
from .options import SpeechOptions
from .planning import token_bucket
from .steps import EncoderOutput, HostLoop


class AcousticModel:
    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.manifest = manifest
        self._encoder = backend.open("encoder")
        step = backend.open("decoder_step")
        self._loop: DeviceLoop | HostLoop
        self._loop = DeviceLoop(step, manifest) if isinstance(step, DeviceGraphRunner) else HostLoop(step, manifest)
        self._postnet = backend.open("postnet")

    def encode(self, ids: Sequence[Sequence[int]]) -> EncoderOutput:
        """Token ids of each item -> what the decoder attends to.

        Items go through the encoder one by one, and are padded after it: its kernels round differently for another
        padded length, and the decoder loop would amplify that until an item speaks differently in another batch.
        """
        singles = [
            EncoderOutput(
                **self._encoder.run(token_ids=np.array([item], np.int32), token_lengths=np.array([len(item)], np.int32))
            )
            for item in ids
        ]
        tokens = token_bucket(max(len(item) for item in ids), self.manifest.range("T").max)
        return EncoderOutput(
            memory=_stacked([single.memory for single in singles], tokens),
            processed_memory=_stacked([single.processed_memory for single in singles], tokens),
            memory_mask=_stacked([single.memory_mask for single in singles], tokens, padding=True),
        )

    def session(self, encoded: EncoderOutput, noises: Sequence[Noise], options: SpeechOptions) -> DecoderSession:
        return DecoderSession(self._loop.open(encoded, noises), self.manifest, encoded.memory_mask, options)

    def decode(
        self, encoded: EncoderOutput, noises: Sequence[Noise], options: SpeechOptions
    ) -> list[tuple[DecodedItem, Noise]]:
        """Decode a batch to its end: each item, and the noise it came from.

        Items that reach the frame limit are decoded anew with the noise of a retry, options.retries times.
        """
        rows = list(range(len(noises)))
        done: dict[int, tuple[DecodedItem, Noise]] = {}
        for attempt in range(options.retries + 1):
            attempts = [noises[i].retried(attempt) for i in rows]
            session = self.session(encoded, attempts, options)
            session.advance(options.frame_limit(self.manifest))
            done |= {i: (session.item(row), attempts[row]) for row, i in enumerate(rows)}
            again = [row for row, i in enumerate(rows) if done[i][0].stop_reason == "frame_limit"]
            if not again:
                break
            rows, encoded = [rows[row] for row in again], encoded.items(again)
        return [done[i] for i in range(len(noises))]

    def postnet(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mel [M, F] -> mel with the residual added [M, F]."""
        lengths = np.array([mel.shape[1]], np.int32)
        outputs = self._postnet.run(mel=np.ascontiguousarray(mel[None]), mel_lengths=lengths)
        residual_added: NDArray[np.float32] = outputs["mel_postnet"][0]
        return residual_added


def _stacked(items: Sequence[NDArray[Any]], tokens: int, padding: float = 0.0) -> NDArray[Any]:
    """Arrays [1, T, ...] of different T -> one [B, tokens, ...]."""
    stacked = np.full((len(items), tokens, *items[0].shape[2:]), padding, items[0].dtype)
    for row, item in zip(stacked, items, strict=True):
        row[: item.shape[1]] = item[0]
    return stacked
