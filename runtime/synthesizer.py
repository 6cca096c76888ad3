"""Text -> speech with a bundle: the front end, the acoustic model and the vocoder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..text import Lexicon, Normalizer, TextError, find_normalizer, warn_dropped, warn_of_remarks
from .acoustic import AcousticModel
from .backends import open_backend
from .backends.base import Backend, BackendOptions, Compute, Decoder
from .bundle.reading import MANIFEST_NAME, load_manifest
from .decoder import DecodedItem
from .errors import BundleError, RequestError
from .noise import Noise
from .options import ResolvedOptions, SpeechOptions, StreamOptions
from .output.audio import Audio, Utterance
from .output.trimming import SilenceTrimmer, trim_silence
from .pieces import Piece, Split, join_pieces, place_pieces, split_into_pieces
from .quality import Quality, describe
from .stream import SpeechStream, UtteranceStream
from .stretch import stretch, stretched_frames
from .vocoder import Vocoder


class SpeechWarning(UserWarning):
    """Speech that does not say its text, by its attention or its end."""


@dataclass(frozen=True)
class _Part:
    """A piece of one of several texts. Its noise depends on its seed and its index in its text, not on its batch."""

    owner: int  # index of its text
    split: Split  # its text
    index: int  # of the piece in its text
    noise: Noise

    @property
    def piece(self) -> Piece:
        return self.split.pieces[self.index]


class Synthesizer:
    """Synthesizes speech from a bundle. Not thread-safe: load one per thread."""

    def __init__(self, backend: Backend, normalizer: Normalizer | None = None) -> None:
        manifest = self.manifest = backend.manifest
        self.backend = backend
        self._normalize = normalizer
        try:
            self.front_end = manifest.text.front_end()
        except TextError as error:
            raise BundleError(f"{backend.bundle / MANIFEST_NAME}: {error}; export the voice again") from error
        self.acoustic = AcousticModel(backend)
        self.vocoder = Vocoder(backend)
        self._noise_executor = ThreadPoolExecutor(1, "draw-z") if backend.runs_asynchronously else None

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        backend: str = "auto",
        device: int = 0,
        threads: int | None = None,
        engines: str | Path | None = None,
        decoder: Decoder = "engine",
        normalizer: str | Normalizer | None = None,
        compute: Compute = "fp32",
    ) -> Synthesizer:
        """Open a bundle written by export-onnx.

        Args:
            bundle: its folder.
            backend: its name; "auto" selects the first available one.
            device: index of the GPU, for backends that run on one.
            threads: CPU threads; None: all usable cores.
            engines: folder of the engine cache; None: the user's own. Missing engines are built, which takes minutes.
            decoder: runs decoder steps on a GPU: "engine", or "fused", one kernel that has not run on a GPU yet.
            normalizer: rewrites every text first, marks such as [pause 1s] and braces included; a function, or the name
                of an entry point (text/normalizers.py).
            compute: precision on a CPU. "int8" decodes with the bundle's 8-bit weights, and the backend openvino then
                multiplies in bfloat16 if the processor does; "auto" is the same, with float32 where that is missing.

        Raises BundleError, BackendError or text.TextError.
        """
        normalize = find_normalizer(normalizer) if isinstance(normalizer, str) else normalizer
        options = BackendOptions(
            threads, device, None if engines is None else Path(engines), compute=compute, decoder=decoder
        )
        return cls(open_backend(backend, Path(bundle), load_manifest(Path(bundle)), options), normalize)

    def read_notations(self) -> None:
        """Have numbers, dates, units and the like of every text read as people say them, if the voice speaks English.

        Replaces english_cleaners, whose ids are NVIDIA's, by english_cleaners_extended; other cleaners stay.
        """
        language, cleaners = self.manifest.voice.language.lower(), self.front_end.cleaners
        if cleaners == ("english_cleaners",) and (not language or language.startswith("en")):
            self.front_end = replace(self.front_end, cleaners=("english_cleaners_extended",))

    def say(self, text: str, seed: int = 0, options: SpeechOptions | None = None, **changes: Any) -> Audio:
        """Synthesize a text; the same seed gives the same speech on every backend and in any batch.

        A text longer than the voice's token limit is split at sentence ends, clauses or words and joined with pauses.
        changes: options by their names in SpeechOptions, such as `rate=1.2`; they replace those of `options`. Raises
        text.TextError if the text contains nothing to speak, RequestError for an option out of range, TypeError for an
        unknown one.
        """
        return self.say_batch([text], [seed], options, **changes)[0]

    def say_batch(
        self,
        texts: Sequence[str],
        seeds: Sequence[int] | None = None,
        options: SpeechOptions | None = None,
        **changes: Any,
    ) -> list[Audio]:
        """Synthesize several texts, batching those in the same token bucket; each result equals that of `say`.

        seeds: one per text; None: all 0. changes: as for `say`. An Audio's timings are its own shares of its batches'
        time.
        """
        options = (options or SpeechOptions()).changed(changes)
        splits = [self.split(text, options) for text in texts]
        for split in splits:
            warn_dropped(split.dropped, stacklevel=2)
            warn_of_remarks(split.remarks, stacklevel=2)
        results = dict(self.say_each(splits, seeds, options))
        return [results[i] for i in range(len(texts))]

    def say_each(
        self,
        texts: Sequence[str | Split],
        seeds: Sequence[int] | None = None,
        options: SpeechOptions | None = None,
        on_utterance: Callable[[Utterance], None] | None = None,
    ) -> Iterator[tuple[int, Audio]]:
        """Synthesize several texts as `say_batch` does, and yield (index of the text, its audio) when it is ready.

        texts: as they are written, or as `split` returns them. Does not warn about dropped symbols.
        on_utterance: called with each utterance that is finished, to show progress.
        """
        seeds = [0] * len(texts) if seeds is None else list(seeds)
        if len(seeds) != len(texts):
            raise RequestError(f"seeds: expected one per text ({len(texts)}), got {len(seeds)}")
        options = options or SpeechOptions()
        splits = [text if isinstance(text, Split) else self.split(text, options) for text in texts]
        parts = [
            _Part(owner, split, i, Noise(seed, i))
            for owner, (seed, split) in enumerate(zip(seeds, splits, strict=True))
            for i in range(len(split.pieces))
        ]
        ready: list[dict[int, Utterance]] = [{} for _ in splits]  # of each text, by the index of the piece
        for batch in self.acoustic.group_into_batches({k: len(part.piece.ids) for k, part in enumerate(parts)}):
            own = [parts[k] for k in batch]
            utterances = self._speak_each([part.piece for part in own], [part.noise for part in own], options)
            for part, utterance in zip(own, utterances, strict=True):
                ready[part.owner][part.index] = utterance
                if on_utterance is not None:
                    on_utterance(utterance)
                if len(ready[part.owner]) == len(part.split.pieces):
                    complete, ready[part.owner] = ready[part.owner], {}
                    yield part.owner, self.join(part.split, [complete[i] for i in range(len(complete))], options)

    def stream(
        self,
        text: str | Split,
        seed: int = 0,
        segments: StreamOptions | None = None,
        options: SpeechOptions | None = None,
        timestamps: bool = False,
        **changes: Any,
    ) -> SpeechStream:
        """Synthesize a text segment by segment; returns an iterator that yields float32 samples while the rest is
        still being synthesized.

        segments: how the stream is cut; None: the bundle's values. With `StreamOptions(context_frames=None)`, the
        segments together equal what `say` returns. text: as it is written, or as `split` returns it, about which
        nothing warns. timestamps: collect the stream's `words` and `characters`, those of
        a piece after its last segment. changes: as for `say`. Retries are rejected, because a stream cannot take back
        what has been heard.
        """
        options = (options or SpeechOptions()).changed(changes)
        options.check_stream()
        frames = (segments or StreamOptions()).resolve(self.manifest)
        resolved = options.resolve(self.manifest)
        Noise(seed)  # rejects a seed out of range now, not at the first segment
        if isinstance(text, Split):
            split = text
        else:
            split = self.split(text, options)
            warn_dropped(split.dropped, stacklevel=2)
            warn_of_remarks(split.remarks, stacklevel=2)

        def open_piece(i: int, piece: Piece) -> UtteranceStream:
            own = resolved.scaled(piece.rate, piece.volume)
            noise = self.prefetch(Noise(seed, i), own)
            return UtteranceStream(self.acoustic, self.vocoder, piece.ids, noise, own, frames)

        return SpeechStream(
            split,
            self.manifest.audio.sampling_rate,
            open_piece,
            self._end_piece,
            self.front_end if timestamps else None,
            SilenceTrimmer(self.manifest.audio.sampling_rate, options.volume) if options.trim_silence else None,
        )

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
        resolved = (options or SpeechOptions()).resolve(self.manifest)
        with add_time(timings, "vocoder"):
            samples = self.vocoder.samples(stretch(np.asarray(mel, np.float32), resolved.rate), Noise(seed), resolved)
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
        utterances = []
        pieces = [Piece(texts[i] if texts else "", 0.0, tuple(own)) for i, own in enumerate(ids)]
        for utterance in self._speak_each(pieces, noises, options):
            utterances.append(utterance)
            for stage, seconds in utterance.timings.items():
                if timings is not None:
                    timings[stage] = timings.get(stage, 0.0) + seconds
        return utterances

    def _speak_each(
        self, pieces: Sequence[Piece], noises: Sequence[Noise], options: SpeechOptions
    ) -> Iterator[Utterance]:
        """Decode one batch, and yield each of its utterances when the vocoder has finished it."""
        resolved = options.resolve(self.manifest)
        scaled = [resolved.scaled(piece.rate, piece.volume) for piece in pieces]
        noises = [self.prefetch(noise, own) for noise, own in zip(noises, scaled, strict=True)]
        shared: dict[str, float] = {}
        with add_time(shared, "encoder"):
            encoded = self.acoustic.encode([piece.ids for piece in pieces])
        with add_time(shared, "decoder"):
            decoded = self.acoustic.decode([piece.ids for piece in pieces], encoded, noises, resolved)
        frames = [max(item.mel_length, 1) for item in decoded]
        for piece, own_options, item, length in zip(pieces, scaled, decoded, frames, strict=True):
            own = {"encoder": shared["encoder"] / len(pieces), "decoder": shared["decoder"] * length / sum(frames)}
            utterance = self.finish(piece.text, piece.ids, item, own_options, own)
            self._warn_of_faults(piece.text, item, utterance.quality)
            yield utterance

    def finish(
        self, text: str, ids: Sequence[int], item: DecodedItem, options: ResolvedOptions, timings: dict[str, float]
    ) -> Utterance:
        """Apply postnet and vocoder to a decoded item; their seconds are added to timings."""
        with add_time(timings, "postnet"):
            mel = self.acoustic.postnet(item.mel)
        with add_time(timings, "vocoder"):
            samples = self.vocoder.samples(stretch(mel, options.rate), item.noise, options)
        samples = samples[: stretched_frames(item.mel_length, options.rate) * self.manifest.audio.hop_length]
        return utterance_of(text, ids, item, mel, samples, options.rate, timings, self.judge(text, ids, item))

    def judge(self, text: str, ids: Sequence[int], item: DecodedItem) -> Quality:
        """The judgement on a decoded item, with the words of its text that are concerned."""
        faults = self.acoustic.faults(ids, item)
        return describe(faults, self.front_end.words(text)) if faults else Quality()

    def split(self, text: str, options: SpeechOptions) -> Split:
        """Cut a text into the pieces that are spoken one by one. Raises as `say` does, and does not warn."""
        text = text if self._normalize is None else self._normalize(text)
        assert options.lexicon is None or isinstance(options.lexicon, Lexicon)  # SpeechOptions has made it one
        limit = self.manifest.range("T").max
        return split_into_pieces(self.front_end, text, limit, options.sentence_silence, options.lexicon, options.ssml)

    def join(self, split: Split, utterances: Sequence[Utterance], options: SpeechOptions | ResolvedOptions) -> Audio:
        """The audio of a text from the utterances of its pieces."""
        pieces, rate = split.pieces, self.manifest.audio.sampling_rate
        samples = join_pieces(pieces, [utterance.samples for utterance in utterances], rate)
        starts = place_pieces(pieces, [len(utterance.samples) for utterance in utterances], rate)
        lead = 0
        if options.trim_silence:
            samples, lead = trim_silence(samples, rate, options.volume)
        placed = tuple(
            replace(utterance, start=start - lead) for utterance, start in zip(utterances, starts, strict=True)
        )
        stages = sorted({stage for utterance in utterances for stage in utterance.timings})
        total = {stage: sum(utterance.timings[stage] for utterance in utterances) for stage in stages}
        return Audio(samples, rate, placed, total, self.front_end, split.dropped)

    def prefetch(self, noise: Noise, options: ResolvedOptions) -> Noise:
        """The same noise, drawn in the background if graphs run on a GPU."""
        if self._noise_executor is None:
            return noise
        return self.vocoder.prefetch(noise, stretched_frames(options.frame_limit, options.rate), self._noise_executor)

    def _end_piece(self, piece: Piece, item: DecodedItem) -> Quality:
        """Judge a piece of a stream that has ended, and warn."""
        quality = self.judge(piece.text, piece.ids, item)
        self._warn_of_faults(piece.text, item, quality)
        return quality

    def _warn_of_faults(self, text: str, item: DecodedItem, quality: Quality) -> None:
        if not quality.faults:
            return
        if item.mel_length == 0:
            reason, way_out = "; the gate fired at the first frame", "another --seed or a higher --gate-threshold"
        elif item.stop_reason == "frame_limit":
            reason = f"; the gate has not fired within {item.mel_length} frames"
            way_out = "another --seed, --retries, or a lower --gate-threshold"
        else:
            reason, way_out = "", "another --seed, more --retries, or shorter sentences"
        warnings.warn(f"{quality}{reason}: {text!r}; try {way_out}", SpeechWarning, stacklevel=3)


def utterance_of(
    text: str,
    ids: Sequence[int],
    item: DecodedItem,
    mel: NDArray[np.float32],
    samples: NDArray[np.float32],
    rate: float,
    timings: dict[str, float],
    quality: Quality,
) -> Utterance:
    """The utterance of a decoded item. mel: after the postnet, [M, F]."""
    length = item.mel_length
    gate = (1.0 / (1.0 + np.exp(-item.gate_logits))).astype(np.float32)
    return Utterance(
        text=text,
        token_ids=tuple(ids),
        mel=mel[:, :length],
        alignment=item.alignment[:length],
        gate=gate[:length],
        samples=samples,
        stop_reason=item.stop_reason,
        quality=quality,
        timings=timings,
        rate=rate,
        fired=float(gate[length]) if item.stop_reason == "gate" else None,
    )


@contextmanager
def add_time(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to its stage."""
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
