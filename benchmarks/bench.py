"""One run of the benchmark: the pipelines that can run here, what is asked of them, one report."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.errors import RequestError
from ..runtime.manifest import Manifest
from . import speed
from .conditions import conditions, memory_used, usable_cores
from .pipelines import BundlePipeline, Pipeline, backends_of
from .workload import PRESETS, Preset, Workload, check

if TYPE_CHECKING:
    from .voices import Models

Report = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchRequest:
    measures: Sequence[str] = ("speed",)  # of speed, quality, streaming
    preset: Preset = field(default_factory=lambda: PRESETS["default"])
    backends: Sequence[str] | None = None  # all that can run the bundle here, if None
    threads: int | None = None  # all usable cores if None
    device: int = 0  # index of the GPU


def run(bundles: Sequence[Path], models: Models | None, request: BenchRequest, progress: Progress) -> Report:
    """bundles: of one voice, one a precision. models: the PyTorch modules that they were exported from, for the
    comparison with PyTorch; the bundles are timed alone without them.

    Raises BackendError where a backend that was asked for cannot run, RequestError for a workload beyond the voice.
    """
    threads = request.threads or usable_cores()
    gpu = _gpu_index(request.device)
    if models is not None:
        import torch

        torch.set_num_threads(threads)
    timed = models if "speed" in request.measures else None
    pipelines, memory = _loaded(_loaders(bundles, timed, request, gpu, threads), gpu, progress)
    ours = [pipeline for pipeline in pipelines if isinstance(pipeline, BundlePipeline)]
    manifest = ours[0].synthesizer.manifest
    report: Report = {
        "voice": manifest.voice.name,
        "conditions": conditions(threads, gpu),
        "runs": request.preset.runs,
        "warmups": request.preset.warmups,
    }
    if "speed" in request.measures:
        report |= _speed(pipelines, models, request.preset, manifest, progress)
        for row in report["speed"]:
            row["memory_bytes"] = memory[row["pipeline"], row["precision"]]
    if "quality" in request.measures:
        if models is None:
            raise RequestError("--measure quality needs the PyTorch modules: add --demo, or the checkpoints' options")
        from .quality import SENTENCES, measure

        report["quality"] = measure(models, ours, SENTENCES, progress)
    if "streaming" in request.measures:
        from . import streaming

        progress("streaming")
        report["streaming"] = streaming.measure(ours[0].synthesizer, request.preset.runs)
    return report


def _speed(
    pipelines: Sequence[Pipeline], models: Models | None, preset: Preset, manifest: Manifest, progress: Progress
) -> Report:
    works = [Workload(batch, tokens, preset.frames) for batch in preset.batches for tokens in preset.tokens]
    for work in works:
        check(work, manifest)
    reference = None
    if models is not None:
        from .parity import Reference

        reference = Reference(next(p for p in pipelines if p.name == "PyTorch eager"), models)
    audio = manifest.audio
    rows = speed.measure(pipelines, works, reference, preset, audio.hop_length, audio.sampling_rate, progress)
    progress("the machine's ceilings")
    return {"speed": rows, "ceilings": _with_ceilings(rows, models)}


def _with_ceilings(rows: Sequence[Report], models: Models | None) -> dict[str, dict[str, float]]:
    """The ceilings of each device and precision; every row gets what its stages achieved, if the models are known."""
    from .roofline import ceilings, work_of

    found: dict[str, dict[str, float]] = {}
    for row in rows:
        # A CPU computes both half precisions in float32.
        on_cpu = row["device"] == "CPU"
        name = row["ceiling"] = "CPU, fp32" if on_cpu else f"{row['device']}, {row['precision']}"
        if name not in found:
            found[name] = ceilings("cpu", "fp32") if on_cpu else ceilings("cuda", row["precision"])
        if models is None:
            row["achieved"] = {}
            continue
        works = work_of(models, Workload(row["batch"], row["tokens"], row["frames"]), row["precision"])
        row["achieved"] = {
            stage: {
                "operations_per_second": works[stage].operations / seconds,
                "bytes_per_second": works[stage].bytes / seconds,
            }
            for stage, seconds in row.get("stages", {}).items()
            if stage in works
        }
    return found


def _loaders(
    bundles: Sequence[Path], models: Models | None, request: BenchRequest, gpu: int | None, threads: int
) -> Iterator[tuple[str, Callable[[], Pipeline]]]:
    """A description and what loads the pipeline, PyTorch first: it is the reference."""
    if models is not None:
        yield from _peers(models, gpu)
    for bundle in bundles:
        for backend in request.backends or backends_of(bundle):
            yield (
                f"tacoglow {backend}, {bundle}",
                lambda bundle=bundle, backend=backend: BundlePipeline(bundle, backend, request.device, threads),  # type: ignore[misc]
            )


def _peers(models: Models, gpu: int | None) -> Iterator[tuple[str, Callable[[], Pipeline]]]:
    from .peer import TorchaudioPipeline
    from .pytorch import PyTorchPipeline

    yield "PyTorch eager", lambda: PyTorchPipeline(models)
    yield "PyTorch TorchScript", lambda: PyTorchPipeline(models, "TorchScript")
    if shutil.which("c++"):  # what it compiles with on a CPU
        yield "PyTorch torch.compile", lambda: PyTorchPipeline(models, "torch.compile")
    if importlib.util.find_spec("torchaudio"):
        yield "torchaudio", lambda: TorchaudioPipeline(models)
    if gpu is not None:
        for precision in ("fp32", "fp16"):
            for mode in ("eager", "TorchScript", "CUDA graphs"):
                yield (
                    f"PyTorch {mode}, {precision}, GPU",
                    lambda mode=mode, precision=precision: PyTorchPipeline(models, mode, f"cuda:{gpu}", precision),  # type: ignore[misc]
                )


def _loaded(
    loaders: Iterator[tuple[str, Callable[[], Pipeline]]], gpu: int | None, progress: Progress
) -> tuple[list[Pipeline], dict[tuple[str, str], int]]:
    """The pipelines, and the bytes of memory that each has taken for its weights and engines."""
    pipelines, memory = [], {}
    for description, load in loaders:
        progress(f"loading {description}")
        before = memory_used(gpu)
        pipelines.append(load())
        memory[pipelines[-1].name, pipelines[-1].precision] = memory_used(gpu) - before
    return pipelines, memory


def _gpu_index(device: int) -> int | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return device if torch.cuda.is_available() else None
