"""The interface that every timed pipeline implements, and its implementation for a bundle on one backend."""

from __future__ import annotations

import math
import time
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runtime.backends.base import Compute, Decoder
from ..runtime.options import SpeechOptions, StreamOptions
from ..runtime.stream import UtteranceStream
from ..runtime.synthesizer import Synthesizer
from .workload import Workload, token_ids

REFERENCE = "PyTorch eager"  # name of the pipeline that the others are compared with, in fp32
GATE_OFF = math.nextafter(1.0, 0.0)  # highest valid gate threshold: a logit of 36.7, which no gate reaches


@dataclass(frozen=True)
class PipelineOutput:
    mel: NDArray[np.float32]  # [B, M, F], after the postnet
    audio: NDArray[np.float32] | None  # [B, F * hop]; None if the pipeline ends with the mel
    # Samples at the end of the audio that are not compared: a vocoder that pads its last window ends differently.
    padded: int = 0


class Pipeline(ABC):
    name: str
    precision: str  # of the weights, or if a CPU rounds some of them: how
    device: str  # "CPU", or a short description of the GPU
    is_timed = True  # False: it only gives the output that others are compared with

    @abstractmethod
    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        """Return the output, and the seconds of each stage without loading and compiling."""

    def first_audio(self, work: Workload) -> float | None:
        """Seconds until the first samples of a stream of the first item; None if the pipeline cannot stream."""
        return None


class BundlePipeline(Pipeline):
    def __init__(
        self,
        bundle: Path,
        backend: str,
        device: int = 0,
        threads: int | None = None,
        compute: Compute = "fp32",
        decoder: Decoder = "engine",
    ) -> None:
        voice = self.synthesizer = Synthesizer.load(bundle, backend, device, threads, compute=compute, decoder=decoder)
        self.name = f"tacoglow {backend}"
        eight_bits = ["int8"] if compute != "fp32" and voice.manifest.int8_decoder else []
        vocoder = ["bf16"] if voice.backend.vocoder == "bfloat16" else []
        self.precision = " + ".join(eight_bits + vocoder) or voice.manifest.precision
        self.device = voice.backend.device

    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        stages: dict[str, float] = {}
        ids = [token_ids(self.synthesizer.front_end, work.tokens)] * work.batch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # every utterance reaches the frame limit
            items = self.synthesizer.speak_ids(ids, work.noises(), self._options(work), stages)
        mel, audio = np.stack([item.mel for item in items]), np.stack([item.samples for item in items])
        return PipelineOutput(mel, audio, self.synthesizer.vocoder.padded_samples), stages

    def first_audio(self, work: Workload) -> float | None:
        voice = self.synthesizer
        ids, noise = token_ids(voice.front_end, work.tokens), work.noises()[0]
        begin = time.perf_counter()
        stream = UtteranceStream(
            voice.acoustic,
            voice.vocoder,
            ids,
            noise,
            self._options(work).resolve(voice.manifest),
            StreamOptions().resolve(voice.manifest),
        )
        next(stream.segments())
        seconds = time.perf_counter() - begin
        voice.backend.synchronize()  # chunks that were launched ahead must not slow the next measurement down
        return seconds

    def _options(self, work: Workload) -> SpeechOptions:
        """Nothing but the workload's frames ends an utterance, and it is not decoded again for that."""
        return SpeechOptions(gate_threshold=GATE_OFF, max_frames=work.frames, retries=0, attention_stop=False)
