"""What every step of the day has: its sizes, and its figures, which are on disk as soon as they are known."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...runtime.backends.cuda.stream import CudaStream

if TYPE_CHECKING:
    from ...benchmarks.voices import Models

VoiceName = Literal["nvidia", "demo"]
SEED = 20181031


@dataclass(frozen=True)
class Sizes:
    """How much each step does. A rehearsal does as many kinds of things, each as small as can be."""

    batches: tuple[int, ...] = (1, 8)
    fused_batches: tuple[int, ...] = (1, 4, 8)
    tokens: int = 128
    long_tokens: int = 256
    frames: int = 600
    chunks: int = 9  # that a timing launches
    repeats: int = 5  # of a timing, after warming up
    bundle_batch: int = 8  # limits of the exported bundles
    bundle_tokens: int = 256
    is_rehearsal: bool = False

    def models(self, voice: VoiceName) -> Models:
        from ...benchmarks.voices import demo_models, load_models, random_models

        if not self.is_rehearsal:
            return random_models() if voice == "nvidia" else demo_models()
        import tempfile

        from ...tests.tiny_voice import write_checkpoints

        with tempfile.TemporaryDirectory() as folder:
            files = write_checkpoints(Path(folder))
            return load_models(files.tacotron2, files.waveglow, files.voice)


REHEARSAL = Sizes(
    batches=(1, 2),
    fused_batches=(1, 2),
    tokens=12,
    long_tokens=20,
    frames=20,
    chunks=2,
    repeats=2,
    bundle_batch=4,
    bundle_tokens=128,
    is_rehearsal=True,
)


@dataclass(frozen=True)
class Context:
    """What a step is given."""

    name: str  # its own
    out: Path
    sizes: Sizes
    voice: VoiceName = "nvidia"
    with_vocoder: bool = False
    tool: str = ""  # of compute-sanitizer

    @property
    def bundle(self) -> Path:
        return self.out / "bundles" / f"{self.voice}-fp16"


class Figures:
    """A step's figures by name, written to a file one by one: they stay if what follows fails or takes too long."""

    def __init__(self, path: Path) -> None:
        self._path, self._found = path, dict[str, Any]()
        self._write()

    def __setitem__(self, name: str, value: Any) -> None:
        self._found[name] = value
        print(f"{name}: {value}", flush=True)
        self._write()

    def __getitem__(self, name: str) -> Any:
        return self._found[name]

    def __len__(self) -> int:
        return len(self._found)

    def _write(self) -> None:
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(self._found, indent=1) + "\n")
        partial.replace(self._path)


def milliseconds(stream: CudaStream, call: Callable[[], object], repeats: int) -> float:
    """Time calls by the GPU's own events; the median after three, which warm up."""
    found = []
    for _ in range(3 + repeats):
        begin = stream.record_time()
        call()
        found.append(stream.record_time().seconds_since(begin) * 1e3)
    return round(statistics.median(found[3:]), 4)
