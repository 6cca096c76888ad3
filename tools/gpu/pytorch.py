"""The steps that need PyTorch: its own speed on this GPU, and bundles exported on this machine."""

from __future__ import annotations

import statistics
import time

import torch

from ...benchmarks.parity import BenchReference
from ...benchmarks.pytorch import Mode, PyTorchPipeline
from ...benchmarks.workload import Workload
from ...export.bundle import Limits, build_denoiser, write_unchecked
from ...export.graphs import build_graphs
from ...runtime.bundle.folders import atomic_directory
from .figures import Context, Figures

PRECISIONS = ("fp16", "fp32", "tf32")  # tf32 is only timed: PyTorch's own default for convolutions
COMPARED_FRAMES = 40


def pytorch(context: Context, figures: Figures) -> None:
    """Time PyTorch, eager and as CUDA graphs, by precision and batch: the median milliseconds of each stage."""
    sizes = context.sizes
    device = "cpu" if sizes.is_rehearsal else "cuda:0"
    modes: tuple[Mode, ...] = ("eager",) if sizes.is_rehearsal else ("eager", "CUDA graphs")
    models = sizes.models("nvidia")
    compared = Workload(1, sizes.tokens, min(COMPARED_FRAMES, sizes.frames))
    reference, wrong = BenchReference(PyTorchPipeline(models), models), []
    for precision in PRECISIONS:
        for mode in modes:
            name = f"{precision}_{mode.replace(' ', '_')}"
            if precision in ("fp16", "bf16") and device == "cpu":
                continue  # PyTorch's LSTM has no half precision there
            pipeline = PyTorchPipeline(models, mode, device, precision)
            check = reference.check(pipeline.synthesize(compared)[0], compared, precision)
            figures[f"{name}_parity"] = vars(check)
            wrong += [] if check.passes else [f"{name}: {check.what} {check.error:.2g}, not {check.tolerance:.2g}"]
            for batch in sizes.batches:
                work = Workload(batch, sizes.tokens, sizes.frames)
                pipeline.synthesize(work)
                runs = [pipeline.synthesize(work)[1] for _ in range(min(3, sizes.repeats))]
                stages = {stage: 1e3 * statistics.median(run[stage] for run in runs) for stage in runs[0]}
                total = 1e3 * statistics.median(sum(run.values()) for run in runs)
                figures[f"{name}_batch_{batch}_ms"] = {"total": total, **stages}
            del pipeline
            torch.cuda.empty_cache()
    assert not wrong, "; ".join(wrong)


def export(context: Context, figures: Figures) -> None:
    """Write a voice's graphs in half precision, unchecked: what runs them is compared with what this GPU computes."""
    sizes, begin = context.sizes, time.perf_counter()
    models = sizes.models(context.voice)
    figures["models_seconds"] = round(time.perf_counter() - begin, 1)
    limits = Limits(sizes.bundle_batch, sizes.bundle_tokens, 1000)
    context.bundle.parent.mkdir(exist_ok=True)
    voice = models.tacotron2, models.vocoder
    graphs = build_graphs(*voice, build_denoiser(*voice, models.voice), "fp16")
    with atomic_directory(context.bundle, force=True) as folder:
        write_unchecked(*voice, graphs, folder, "fp16", models.voice, limits, print)
    figures["seconds"] = round(time.perf_counter() - begin, 1)
    sizes_of = {path.name: path.stat().st_size / 1e6 for path in sorted(context.bundle.iterdir())}
    figures["megabytes"] = {name: round(size, 1) for name, size in sizes_of.items()}
