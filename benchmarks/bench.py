"""Runs one benchmark: loads every pipeline that can run here, times them, returns one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.backends.base import usable_cores
from ..runtime.bundle.manifest import Manifest
from . import speed
from .ceilings import measure_ceilings
from .conditions import conditions, gpu_index
from .loading import find_loaders, load_pipelines
from .pipelines import REFERENCE, BundlePipeline, Pipeline
from .workload import PRESETS, Preset, Workload, check_limits

if TYPE_CHECKING:
    from .voices import Models

Report = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchRequest:
    preset: Preset = field(default_factory=lambda: PRESETS["default"])
    backends: Sequence[str] | None = None  # None: all that can run the bundle on this machine
    threads: int | None = None  # None: all usable cores
    device: int = 0  # index of the GPU
    cpu_peers: bool = False  # time PyTorch on the CPU although there is a GPU
    torch_compile: bool = False  # time torch.compile on the CPU too


def run(
    bundles: Sequence[Path],
    models: Models | None,
    request: BenchRequest,
    progress: Progress,
) -> Report:
    """Time the bundles and return a report that can be written as JSON.

    bundles: of one voice, one per precision. models: the PyTorch modules that the bundles were exported from, to
    compare with; None: the bundles are timed alone.

    Raises BackendError if a selected backend cannot run, RequestError if a workload exceeds the voice's limits.
    """
    threads = request.threads or usable_cores()
    gpu = gpu_index(request.device)
    if models is not None:
        import torch

        torch.set_num_threads(threads)
        if gpu is not None:
            torch.cuda.set_device(gpu)  # streams and events of PyTorch belong to its current GPU
    loaders = find_loaders(
        bundles,
        models,
        request.backends,
        request.device,
        gpu,
        threads,
        request.cpu_peers,
        request.torch_compile,
    )
    pipelines, memory = load_pipelines(loaders, gpu, progress)
    manifest = next(pipeline for pipeline in pipelines if isinstance(pipeline, BundlePipeline)).synthesizer.manifest
    report: Report = {
        "voice": manifest.voice.name,
        "conditions": conditions(threads, gpu),
        "runs": request.preset.runs,
        "warmups": request.preset.warmups,
    }
    report |= _measure_speed(pipelines, models, request.preset, manifest, gpu, progress)
    for row in report["speed"]:
        row["memory_bytes"] = memory[row["pipeline"], row["precision"]]
    return report


def _measure_speed(
    pipelines: Sequence[Pipeline],
    models: Models | None,
    preset: Preset,
    manifest: Manifest,
    gpu: int | None,
    progress: Progress,
) -> Report:
    works = [Workload(batch, tokens, preset.frames) for batch in preset.batches for tokens in preset.tokens]
    for work in works:
        check_limits(work, manifest)
    reference = None
    if models is not None:
        from .parity import BenchReference

        reference = BenchReference(next(p for p in pipelines if p.name == REFERENCE), models)
    audio = manifest.audio
    rows = speed.measure(pipelines, works, reference, preset, audio.hop_length, audio.sampling_rate, progress)
    progress("the machine's ceilings")
    return {"speed": rows, "ceilings": measure_ceilings(rows, gpu, progress)}
