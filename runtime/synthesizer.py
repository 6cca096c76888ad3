"""Text -> speech over a bundle: the front end, the acoustic model and the vocoder put together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..text import FrontEnd
from .acoustic import AcousticModel
from .audio import Audio, Utterance
from .backends import open_backend
from .backends.base import Backend, BackendOptions
from .decoder import DecodedItem
from .errors import RequestError
from .manifest import load_manifest
from .noise import Noise, NoiseAhead
from .options import SpeechOptions, StreamOptions
from .planning import Piece, faded, plan_batches, plan_pieces
from .stream import SpeechStream, UtteranceStream
from .vocoder import Samples, Vocoder


class FrameLimitWarning(UserWarning):
    """The gate has not fired within the frame limit: the end of the speech is missing or is a babble."""


class Synthesizer:
    """A voice, ready to speak. Not safe for use from several threads at once: load one per thread."""

    def __init__(self, backend: Backend) -> None:
        manifest = self.manifest = backend.manifest
        self.backend = backend
        self.front_end = FrontEnd(manifest.text.symbols, manifest.text.cleaners)
        self.acoustic = AcousticModel(backend, manifest)
        self.vocoder = Vocoder(backend, manifest)
        self._drawer = ThreadPoolExecutor(1, "draw-z") if backend.leaves_host_free else None

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        backend: str = "auto",
        device: int = 0,
        threads: int | None = None,
        engines: str | Path | None = None,
    ) -> Synthesizer:
        """Open a bundle written by export-onnx.

        backend: "auto" takes the first that can run here. device: index of the GPU, for backends that run on one.
        threads: CPU threads, all usable cores if None. engines: folder of TensorRT's engines, BUNDLE/engines if None;
        those that are missing are built, which takes minutes.
        Raises BundleError or BackendError.
        """
        options = BackendOptions(threads, device, None if engines is None else Path(engines))
        return cls(open_backend(backend, Path(bundle), load_manifest(Path(bundle)), options))

    def say(self, text: str, seed: int = 0, options: SpeechOptions | None = None) -> Audio:
        """Speak a text; the same seed gives the same speech on every backend and in any batch.

        A text beyond the voice's token limit is split at sentence ends, clauses or words and joined with pauses.
        Raises text.TextError when nothing of the text can be spoken, RequestError for an option out of range.
        """
        return self.say_batch([text], [seed], options)[0]

    def say_batch(
        self, texts: Sequence[str], seeds: Sequence[int] | None = None, options: SpeechOptions | None = None
    ) -> list[Audio]:
        """Speak several texts, decoded together where their lengths are alike; each is what `say` gives for it.

        seeds: one per text, all 0 if None. An Audio's timings are those of the batches that its pieces were in.
        """
        seeds = [0] * len(texts) if seeds is None else list(seeds)
        if len(seeds) != len(texts):
            raise RequestError(f"seeds: expected one per text ({len(texts)}), got {len(seeds)}")
        options, max_tokens = options or SpeechOptions(), self.manifest.range("T").max
        plans = [plan_pieces(self.front_end, text, max_tokens) for text in texts]
        # Every piece of every text, with the noise that it has wherever it is spoken.
        pieces = [piece for plan in plans for piece in plan]
        noises = [Noise(seed, i) for seed, plan in zip(seeds, plans, strict=True) for i in range(len(plan))]
        spoken: dict[int, tuple[Utterance, dict[str, float]]] = {}
        lengths = {i: len(piece.ids) for i, piece in enumerate(pieces)}
        for group in plan_batches(lengths, max_tokens, self.manifest.range("B").max):
            timings: dict[str, float] = {}
            utterances = self.speak_ids(
                [pieces[i].ids for i in group],
                [noises[i] for i in group],
                options,
                timings,
                [pieces[i].text for i in group],
            )
            spoken |= {i: (utterance, timings) for i, utterance in zip(group, utterances, strict=True)}
        results = iter(spoken[i] for i in range(len(pieces)))
        return [self._joined(plan, [next(results) for _ in plan]) for plan in plans]

    def stream(
        self,
        text: str,
        seed: int = 0,
        chunk_frames: int | None = None,
        first_chunk_frames: int | None = None,
        context_frames: int | None = StreamOptions.context_frames,
        options: SpeechOptions | None = None,
    ) -> SpeechStream:
        """Speak a text chunk by chunk: an iterator over float32 samples that come while the rest is being made.

        chunk_frames, first_chunk_frames: frames of a chunk. context_frames: mel frames that WaveGlow sees to either
        side of a chunk; None is its whole receptive field, with which the chunks add up to what `say` gives.
        Retries are refused: what has been heard cannot be spoken anew.
        """
        options, default = options or SpeechOptions(), StreamOptions()
        if options.retries:
            raise RequestError("retries: a stream cannot take back what has been heard; use say, or retries=0")
        chunks = StreamOptions(
            default.first_chunk_frames if first_chunk_frames is None else first_chunk_frames,
            default.chunk_frames if chunk_frames is None else chunk_frames,
            context_frames,
        )

        def open_piece(i: int, piece: Piece) -> UtteranceStream:
            return UtteranceStream(self.acoustic, self.vocoder, piece.ids, Noise(seed, i), options, chunks)

        Noise(seed)  # refuses a seed out of range now, not at the first chunk
        options.frame_limit(self.manifest)
        pieces = plan_pieces(self.front_end, text, self.manifest.range("T").max)
        return SpeechStream(pieces, self.manifest.audio.sampling_rate, open_piece, self._warn_of_ending)

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
        noises = [self._drawn_ahead(noise, options) for noise in noises]
        with _timed(timings, "encoder"):
            encoded = self.acoustic.encode(ids)
        with _timed(timings, "decoder"):
            decoded = self.acoustic.decode(encoded, noises, options)
        utterances = []
        for text, item_ids, (item, noise) in zip(texts, ids, decoded, strict=True):
            with _timed(timings, "postnet"):
                mel = self.acoustic.postnet(item.mel)
            with _timed(timings, "vocoder"):
                samples = self.vocoder.samples(mel, noise, options)
            self._warn_of_ending(text, item)
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

    def _drawn_ahead(self, noise: Noise, options: SpeechOptions) -> Noise:
        if self._drawer is None:
            return noise
        settings, hop = self.manifest.vocoder, self.manifest.audio.hop_length
        groups = options.frame_limit(self.manifest) * hop // settings.group_size
        return NoiseAhead(noise, settings.group_size, groups, self._drawer)

    def _warn_of_ending(self, text: str, item: DecodedItem) -> None:
        if item.mel_length == 0:
            warnings.warn(f"the gate fired at the first frame: nothing is spoken of {text!r}", stacklevel=3)
        if item.stop_reason == "frame_limit":
            warnings.warn(
                f"the gate has not fired within {item.mel_length} frames, so the speech may be cut or end in babble: "
                f"{text!r}; end the text with . ? or !, try another --seed, a lower --gate-threshold, --retries, or "
                "shorter sentences",
                FrameLimitWarning,
                stacklevel=3,
            )

    def _joined(self, plan: Sequence[Piece], spoken: Sequence[tuple[Utterance, dict[str, float]]]) -> Audio:
        rate = self.manifest.audio.sampling_rate
        parts: list[Samples] = []
        for i, (piece, (utterance, _)) in enumerate(zip(plan, spoken, strict=True)):
            parts.append(faded(utterance.samples, rate, fade_in=i > 0, fade_out=i < len(plan) - 1))
            parts.append(np.zeros(int(piece.pause * rate), np.float32))
        batches = {id(timings): timings for _, timings in spoken}.values()
        stages = {stage for timings in batches for stage in timings}
        total = {stage: sum(timings.get(stage, 0.0) for timings in batches) for stage in sorted(stages)}
        return Audio(np.concatenate(parts), rate, tuple(utterance for utterance, _ in spoken), total)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
