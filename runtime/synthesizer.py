"""Text -> speech over a bundle: the front end, the five graphs and the decoder loop put together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..text import FrontEnd, split_text
from .audio import Audio, StopReason, Utterance
from .backends import open_backend
from .backends.base import Backend, BackendOptions
from .decoder import Decoded, DecodeOptions, DecoderLoop, EncoderOutput
from .errors import RequestError
from .manifest import Manifest, load_manifest
from .noise import Noise
from .vocoder import Vocoder, denoise

SMALLEST_BUCKET = 32  # tokens; buckets double from here to the bundle's limit
PAUSE_SECONDS = 0.2  # between the pieces of a text that is longer than the voice's token limit


class FrameLimitWarning(UserWarning):
    """The gate has not fired within the frame limit: the end of the speech is missing or is a babble."""


@dataclass(frozen=True)
class SpeechOptions:
    """What may differ from request to request; None takes the bundle's own value."""

    sigma: float | None = None  # standard deviation of WaveGlow's noise: lower is smoother, higher livelier
    denoise: float = 0.0  # how many times WaveGlow's hum is subtracted; 0 leaves the denoiser out
    gate_threshold: float | None = None  # probability above which an utterance ends
    max_frames: int | None = None  # frame limit of an utterance

    def __post_init__(self) -> None:
        for name in ("sigma", "denoise"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0.0):
                raise RequestError(f"{name}: expected a number from 0 up, got {value}")


class Synthesizer:
    """A voice, ready to speak. Not safe for use from several threads at once: load one per thread."""

    def __init__(self, manifest: Manifest, backend: Backend) -> None:
        self.manifest = manifest
        self.backend = backend
        self.front_end = FrontEnd(manifest.text.symbols, manifest.text.cleaners)
        self._encoder = backend.open("encoder")
        self._postnet = backend.open("postnet")
        self._denoiser = backend.open("denoiser")
        self._decoder = DecoderLoop(backend.open("decoder_step"), manifest)
        self.vocoder = Vocoder(backend.open("waveglow"), manifest)

    @classmethod
    def load(
        cls, bundle: str | Path, backend: str = "auto", device: int = 0, threads: int | None = None
    ) -> Synthesizer:
        """Open a bundle written by export-onnx.

        backend: "auto" takes the first that can run here. device: index of the GPU, for backends that run on one.
        threads: CPU threads, all usable cores if None.
        Raises BundleError or BackendError.
        """
        manifest = load_manifest(Path(bundle))
        return cls(manifest, open_backend(backend, Path(bundle), manifest, BackendOptions(threads, device)))

    def say(self, text: str, seed: int = 0, options: SpeechOptions | None = None) -> Audio:
        """Speak a text; the same seed gives the same speech on every backend and in any batch.

        A text beyond the voice's token limit is split at sentence ends and joined with short pauses.
        Raises text.TextError when nothing of the text can be spoken, RequestError for an option out of range.
        """
        count = self.front_end.count_tokens
        pieces = [text]
        if not self._fits(text):
            pieces = [piece for piece in split_text(text, self.manifest.range("T").max, count) if count(piece)]
        timings: dict[str, float] = {}
        utterances = [
            self._speak([piece], [Noise(seed, i)], options or SpeechOptions(), timings)[0]
            for i, piece in enumerate(pieces)
        ]
        return self._joined(utterances, timings)

    def say_batch(
        self, texts: Sequence[str], seeds: Sequence[int] | None = None, options: SpeechOptions | None = None
    ) -> list[Audio]:
        """Speak several texts, decoded together up to the bundle's batch limit; each is what `say` gives for it.

        seeds: one per text, all 0 if None. The Audio's timings are those of its whole batch.
        """
        seeds = [0] * len(texts) if seeds is None else list(seeds)
        if len(seeds) != len(texts):
            raise RequestError(f"seeds: expected one per text ({len(texts)}), got {len(seeds)}")
        fitting = [i for i, text in enumerate(texts) if self._fits(text)]
        audios = {i: self.say(text, seeds[i], options) for i, text in enumerate(texts) if i not in set(fitting)}
        for group in self._batches({i: self.front_end.count_tokens(texts[i]) for i in fitting}):
            timings: dict[str, float] = {}
            noises = [Noise(seeds[i]) for i in group]
            spoken = self._speak([texts[i] for i in group], noises, options or SpeechOptions(), timings)
            audios |= {i: self._joined([utterance], timings) for i, utterance in zip(group, spoken, strict=True)}
        return [audios[i] for i in range(len(texts))]

    def _batches(self, lengths: dict[int, int]) -> list[list[int]]:
        """Items by their token counts -> batches of one token bucket each, within the bundle's batch limit."""
        buckets: dict[int, list[int]] = {}
        for i, length in lengths.items():
            buckets.setdefault(self._token_bucket(length), []).append(i)
        size = self.manifest.range("B").max
        return [group[start : start + size] for group in buckets.values() for start in range(0, len(group), size)]

    def _token_bucket(self, length: int) -> int:
        """The padded length at which an item of `length` tokens is decoded, alone or in a batch.

        An engine's softmax sums a longer row in another order, and the decoder loop amplifies that rounding. An item
        therefore always runs at the padding of its own bucket, and shares a batch with items of that bucket only.
        """
        bucket = SMALLEST_BUCKET
        while bucket < length:
            bucket *= 2
        return min(bucket, self.manifest.range("T").max)

    def _fits(self, text: str) -> bool:
        return self.front_end.count_tokens(text) <= self.manifest.range("T").max

    def _speak(
        self, texts: Sequence[str], noises: Sequence[Noise], options: SpeechOptions, timings: dict[str, float]
    ) -> list[Utterance]:
        return self.speak_ids([self.front_end.encode(text) for text in texts], noises, options, timings, texts)

    def speak_ids(
        self,
        ids: Sequence[Sequence[int]],
        noises: Sequence[Noise],
        options: SpeechOptions,
        timings: dict[str, float] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Utterance]:
        """Speak one batch of token ids. timings is added to; texts are for the results and messages alone."""
        timings = {} if timings is None else timings
        texts = [""] * len(ids) if texts is None else texts
        with _timed(timings, "encoder"):
            encoded = self.encode(ids)
        with _timed(timings, "decoder"):
            decoded = self.decode(encoded, noises, options)
        utterances = []
        for i, text in enumerate(texts):
            frames = decoded.frames_decoded[i : i + 1]
            with _timed(timings, "postnet"):
                mel = np.ascontiguousarray(decoded.mel[i : i + 1, :, : frames[0]])
                mel = self._postnet.run(mel=mel, mel_lengths=frames)["mel_postnet"][0]
            samples = self._samples(mel, noises[i], options, timings)
            utterances.append(self._utterance(text, ids[i], decoded, i, mel, samples))
        return utterances

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
        tokens = self._token_bucket(max(len(item) for item in ids))
        return EncoderOutput(
            memory=_stacked([single.memory for single in singles], tokens),
            processed_memory=_stacked([single.processed_memory for single in singles], tokens),
            memory_mask=_stacked([single.memory_mask for single in singles], tokens, padding=True),
        )

    def decode(self, encoded: EncoderOutput, noises: Sequence[Noise], options: SpeechOptions) -> Decoded:
        settings = self.manifest.decoder
        threshold = settings.gate_threshold if options.gate_threshold is None else options.gate_threshold
        max_frames = settings.max_frames if options.max_frames is None else options.max_frames
        return self._decoder.decode(encoded, noises, DecodeOptions(threshold, max_frames))

    def _samples(
        self, mel: NDArray[np.float32], noise: Noise, options: SpeechOptions, timings: dict[str, float]
    ) -> NDArray[np.float32]:
        sigma = self.manifest.vocoder.sigma if options.sigma is None else options.sigma
        with _timed(timings, "vocoder"):
            samples = self.vocoder.samples(mel, noise, sigma)
        if options.denoise > 0.0:
            with _timed(timings, "denoiser"):
                samples = denoise(self._denoiser, samples, options.denoise, self.manifest.range("S").min)
        if not np.isfinite(samples).all():
            raise RequestError(
                f"the audio holds NaN or infinity: {self.manifest.precision} does not suffice for this voice; "
                "export it with --precision bf16 or fp32"
            )
        return samples

    def _utterance(
        self,
        text: str,
        ids: Sequence[int],
        decoded: Decoded,
        i: int,
        mel: NDArray[np.float32],
        samples: NDArray[np.float32],
    ) -> Utterance:
        """Item i of a batch, cut to the frames before its gate fired."""
        length = int(decoded.mel_lengths[i])
        reason: StopReason = "gate" if decoded.frames_decoded[i] > length else "frame_limit"
        if reason == "frame_limit":
            warnings.warn(
                f"the gate has not fired within {length} frames, so the speech may be cut or end in babble: {text!r}; "
                "end the text with . ? or !, try another --seed, a lower --gate-threshold, or shorter sentences",
                FrameLimitWarning,
                stacklevel=2,
            )
        return Utterance(
            text=text,
            token_ids=tuple(ids),
            mel=mel[:, :length],
            alignment=decoded.alignments[i, :length, : len(ids)],
            gate=(1.0 / (1.0 + np.exp(-decoded.gate_logits[i, :length]))).astype(np.float32),
            samples=samples[: length * self.manifest.audio.hop_length],
            stop_reason=reason,
        )

    def _joined(self, utterances: Sequence[Utterance], timings: dict[str, float]) -> Audio:
        rate = self.manifest.audio.sampling_rate
        pause = np.zeros(int(PAUSE_SECONDS * rate), np.float32)
        parts = [utterances[0].samples]
        for utterance in utterances[1:]:
            parts += [pause, utterance.samples]
        return Audio(np.concatenate(parts), rate, tuple(utterances), timings)


def _stacked(items: Sequence[NDArray[Any]], tokens: int, padding: float = 0.0) -> NDArray[Any]:
    """Arrays [1, T, ...] of different T -> one [B, tokens, ...]."""
    stacked = np.full((len(items), tokens, *items[0].shape[2:]), padding, items[0].dtype)
    for row, item in zip(stacked, items, strict=True):
        row[: item.shape[1]] = item[0]
    return stacked


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
