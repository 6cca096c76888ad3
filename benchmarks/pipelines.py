"""What is timed: a pipeline speaks a workload and says how long each stage took. Here: a bundle on one backend."""

from __future__ import annotations

import math
import time
import warnings
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from ..runtime.backends import BACKENDS, backend_class
from ..runtime.bundle import load_manifest
from ..runtime.options import SpeechOptions, StreamOptions
from ..runtime.stream import UtteranceStream
from ..runtime.synthesizer import Synthesizer
from .workload import Spoken, Workload, token_ids

NEVER = math.nextafter(1.0, 0.0)  # a gate threshold that no gate reaches


class Pipeline(ABC):
    name: str
    precision: str
    device: str  # what it runs on, in a word or two

    @abstractmethod
    def speak(self, work: Workload) -> tuple[Spoken, dict[str, float]]:
        """What was spoken, and the seconds of each stage, loading and compiling aside."""

    def first_audio(self, work: Workload) -> float | None:
        """Seconds until the first samples of a stream of the first item; None where there is no stream."""
        return None


class BundlePipeline(Pipeline):
    def __init__(self, bundle: Path, backend: str, device: int = 0, threads: int | None = None) -> None:
        self.synthesizer = Synthesizer.load(bundle, backend, device, threads)
        self.name = f"tacoglow {backend}"
        self.precision = self.synthesizer.manifest.precision
        self.device = self.synthesizer.backend.device

    def speak(self, work: Workload) -> tuple[Spoken, dict[str, float]]:
        stages: dict[str, float] = {}
        ids = [token_ids(self.synthesizer.front_end, work.tokens)] * work.batch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the gate has not fired
            items = self.synthesizer.speak_ids(ids, work.noises(), self._options(work), stages)
        return Spoken(np.stack([item.mel for item in items]), np.stack([item.samples for item in items])), stages

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
        return time.perf_counter() - begin

    def _options(self, work: Workload) -> SpeechOptions:
        return SpeechOptions(gate_threshold=NEVER, max_frames=work.frames)


def backends_of(bundle: Path) -> list[str]:
    """The backends that can run this bundle here."""
    has_modules = load_manifest(bundle).torchscript is not None
    return [
        name
        for name in BACKENDS
        if backend_class(name).unavailable_reason() is None and (name != "torchscript" or has_modules)
    ]
