"""Text -> speech with a bundle: the front end, the acoustic model and the vocoder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..text import FrontEnd
from .acoustic import AcousticModel, group_into_batches
from .audio import Audio, Utterance
from .backends import open_backend
from .backends.base import Backend, BackendOptions, Decoder
from .bundle import load_manifest
from .decoder import DecodedItem
from .errors import RequestError
from .noise import Noise
from .options import ResolvedOptions, SpeechOptions, StreamOptions
from .pieces import Piece, join_pieces, split_into_pieces
from .stream import SpeechStream, UtteranceStream
from .vocoder import Vocoder


class FrameLimitWarning(UserWarning):
    """The gate did not fire within the frame limit: the speech is cut off or ends in babble."""


class Synthesizer:
    """Synthesizes speech from a bundle. Not thread-safe: load one per thread."""

    def __init__(self, backend: Backend) -> None:
        manifest = self.manifest = backend.manifest
        self.backend = backend
        self.front_end = FrontEnd(manifest.text.symbols, manifest.text.cleaners)
        self.acoustic = AcousticModel(backend, manifest)
        self.vocoder = Vocoder(backend, manifest)
        self._noise_executor = ThreadPoolExecutor(1, "draw-z") if backend.runs_asynchronously else None

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        backend: str = "auto",
        device: int = 0,
        threads: int | None = None,
        engines: str | Path | None = None,
        decoder: Decoder = "auto",
    ) -> Synthesizer:
        """Open a bundle written by export-onnx.

        backend: "auto" selects the first available one. device: index of the GPU, for backends that run on one.
        threads: CPU threads; None: all usable cores. engines: folder of the engine cache; None: the user's own. Missing
        engines are built, which takes minutes. decoder: what runs decoder steps on a GPU, "fused" (one kernel) or
        "engine"; "auto" selects the fused one where it has proved itself on this GPU.
        Raises BundleError or BackendError.
        """
        options = BackendOptions(threads, device, None if engines is None else Path(engines), decoder)
        return cls(open_backend(backend, Path(bundle), load_manifest(Path(bundle)), options))

    def say(self, text: str, seed: int = 0, options: SpeechOptions | None = None) -> Audio:
        """Synthesize a text; the same seed gives the same speech on every backend and in any batch.

        A text longer than the voice's token limit is split at sentence ends, clauses or words and joined with pauses.
        Raises text.TextError if the text contains nothing to speak, RequestError for an option out of range.
        """
        return self.say_batch([text], [seed], options)[0]

    def say_batch(
        self, texts: Sequence[str], seeds: Sequence[int] | None = None, options: SpeechOptions | None = None
    ) -> list[Audio]:
        """Synthesize several texts, batching those in the same token bucket; each result equals that of `say`.

        seeds: one per text; None: all 0. An Audio's timings are those of the batches that its pieces were in.
        """
        seeds = [0] * len(texts) if seeds is None else list(seeds)
        if len(seeds) != len(texts):
            raise RequestError(f"seeds: expected one per text ({len(texts)}), got {len(seeds)}")
        max_tokens = self.manifest.range("T").max
        split_texts = [split_into_pieces(self.front_end, text, max_tokens) for text in texts]
        # A piece's noise depends on its seed and its index in its text, not on its batch.
        pieces = [piece for text in split_texts for piece in text]
        noises = [Noise(seed, i) for seed, text in zip(seeds, split_texts, strict=True) for i in range(len(text))]
        utterances = self._synthesize_pieces(pieces, noises, options or SpeechOptions())
        results = iter(utterances)
        return [self._join(text, [next(results) for _ in text]) for text in split_texts]

    def stream(
        self,
        text: str,
        seed: int = 0,
        chunk_frames: int | None = None,
        first_chunk_frames: int | None = None,
        context_frames: int | Literal["bundle"] | None = "bundle",
        options: SpeechOptions | None = None,
    ) -> SpeechStream:
        """Synthesize a text segment by segment; returns an iterator that yields float32 samples while the rest is
        still being synthesized.

        chunk_frames, first_chunk_frames: frames per segment; None: the bundle's value. context_frames: mel frames that
        the vocoder sees on either side of a segment; None: its whole receptive field, with which the segments
        together equal what `say` returns. Retries are rejected, because a stream cannot take back what has been heard.
        """
        options = options or SpeechOptions()
        if options.retries:
            raise RequestError("retries: a stream cannot take back what has been heard; use say, or retries=0")
        frames = StreamOptions(first_chunk_frames, chunk_frames, context_frames).resolve(self.manifest)
        resolved = options.resolve(self.manifest)
        Noise(seed)  # rejects a seed out of range now, not at the first segment

        def open_piece(i: int, piece: Piece) -> UtteranceStream:
            noise = self._prefetch(Noise(seed, i), resolved)
            return UtteranceStream(self.acoustic, self.vocoder, piece.ids, noise, resolved, frames)

        pieces = split_into_pieces(self.front_end, text, self.manifest.range("T").max)
        return SpeechStream(pieces, self.manifest.audio.sampling_rate, open_piece, self._warn_about_ending)

    def vocode(self, mel: NDArray[np.float32], seed: int = 0, options: SpeechOptions | None = None) -> Audio:
        """Generate the audio of a mel spectrogram [M, F] with the vocoder alone.

        The mel is one of this voice's: natural log of magnitudes, with the settings in manifest.audio.
        Raises RequestError for a mel of another shape, or one that contains NaN or Inf.
        """
        bands = self.manifest.audio.n_mel_channels
        if mel.ndim != 2 or mel.shape[0] != bands or not mel.shape[1]:
            raise RequestError(f"mel: expected [{bands}, frames] with at least 1 frame, got {list(mel.shape)}")
        limit = self.manifest.range("F").max
        if mel.shape[1] > limit:
            raise RequestError(
                f"mel: expected at most {limit} frames (this bundle's limit), got {mel.shape[1]}; "
                "a longer one needs export-onnx --max-frames"
            )
        if not np.isfinite(mel).all():
            raise RequestError("mel: contains NaN or Inf")
        timings: dict[str, float] = {}
        with _add_time(timings, "vocoder"):
            samples = self.vocoder.samples(
                np.asarray(mel, np.float32), Noise(seed), (options or SpeechOptions()).resolve(self.manifest)
            )
        return Audio(samples, self.manifest.audio.sampling_rate, (), timings)

    def speak_ids(
        self,
        ids: Sequence[Sequence[int]],
        noises: Sequence[Noise],
        options: SpeechOptions,
        timings: dict[str, float] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Utterance]:
        """Synthesize one batch of token ids; noises: one per item.

        timings: seconds per stage are added to this dict. texts: used in results and warnings only.
        """
        timings = {} if timings is None else timings
        texts = [""] * len(ids) if texts is None else texts
        resolved = options.resolve(self.manifest)
        noises = [self._prefetch(noise, resolved) for noise in noises]
        with _add_time(timings, "encoder"):
            encoded = self.acoustic.encode(ids)
        with _add_time(timings, "decoder"):
            decoded = self.acoustic.decode(encoded, noises, resolved)
        utterances = []
        for text, item_ids, item in zip(texts, ids, decoded, strict=True):
            with _add_time(timings, "postnet"):
                mel = self.acoustic.postnet(item.mel)
            with _add_time(timings, "vocoder"):
                samples = self.vocoder.samples(mel, item.noise, resolved)
            self._warn_about_ending(text, item)
            length = item.mel_length
            utterances.append(
                Utterance(
                    text=text,
                    token_ids=tuple(item_ids),
                    mel=mel[:, :length],
                    alignment=item.alignment[:length],
                    gate=(1.0 / (1.0 + np.exp(-item.gate_logits[:length]))).astype(np.float32),
                    samples=samples[: length * self.manifest.audio.hop_length],
                    stop_reason=item.stop_reason,
                )
            )
        return utterances

    def _synthesize_pieces(
        self, pieces: Sequence[Piece], noises: Sequence[Noise], options: SpeechOptions
    ) -> list[tuple[Utterance, dict[str, float]]]:
        """Return each piece's utterance, and the timings of the batch that it was in."""
        results: dict[int, tuple[Utterance, dict[str, float]]] = {}
        lengths = {i: len(piece.ids) for i, piece in enumerate(pieces)}
        for batch in group_into_batches(lengths, self.manifest):
            ids, texts = [pieces[i].ids for i in batch], [pieces[i].text for i in batch]
            timings: dict[str, float] = {}
            utterances = self.speak_ids(ids, [noises[i] for i in batch], options, timings, texts)
            results |= {i: (utterance, timings) for i, utterance in zip(batch, utterances, strict=True)}
        return [results[i] for i in range(len(pieces))]

    def _join(self, pieces: Sequence[Piece], results: Sequence[tuple[Utterance, dict[str, float]]]) -> Audio:
        rate = self.manifest.audio.sampling_rate
        samples = join_pieces(pieces, [utterance.samples for utterance, _ in results], rate)
        batches = {id(timings): timings for _, timings in results}.values()
        stages = {stage for timings in batches for stage in timings}
        total = {stage: sum(timings.get(stage, 0.0) for timings in batches) for stage in sorted(stages)}
        return Audio(samples, rate, tuple(utterance for utterance, _ in results), total)

    def _prefetch(self, noise: Noise, options: ResolvedOptions) -> Noise:
        if self._noise_executor is None:
            return noise
        return self.vocoder.prefetch(noise, options.frame_limit, self._noise_executor)

    def _warn_about_ending(self, text: str, item: DecodedItem) -> None:
        if item.mel_length == 0:
            warnings.warn(
                f"the gate fired at the first frame, so {text!r} has no audio; try another --seed or a higher "
                "--gate-threshold",
                stacklevel=3,
            )
        if item.stop_reason == "frame_limit":
            warnings.warn(
                f"the gate has not fired within {item.mel_length} frames, so the speech may be cut off or end in "
                f"babble: {text!r}; end the text with . ? or !, try another --seed, a lower --gate-threshold, "
                "--retries, or shorter sentences",
                FrameLimitWarning,
                stacklevel=3,
            )


@contextmanager
def _add_time(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to its stage."""
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
