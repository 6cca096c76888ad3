"""What a workload needs at least, and what this machine can do at most, measured in the same run.

Operations are those of the plain modules: two for every weight at every position where it is used. Bytes are the
weights, once for each pass over them (the decoder passes over its own at every step), with the stage's inputs and
outputs. Folding makes a graph do fewer operations, and a cache spares reading weights anew, so that a share of a
ceiling may exceed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .clock import clock_for
from .workload import Workload

if TYPE_CHECKING:
    from torch import nn

    from .voices import Models

REPEATS = 5
CPU_SIZE = 2048  # rows of the square matrices
GPU_SIZE = 8192
COPIED_BYTES = 256 << 20  # beyond any cache
WEIGHT_BYTES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Work:
    operations: float
    bytes: float


def work_of(models: Models, work: Workload, precision: str) -> dict[str, Work]:
    """By stage, for the whole batch."""
    tacotron2, decoder, vocoder = models.tacotron2, models.tacotron2.decoder, models.vocoder
    config, attention, size = tacotron2.config, models.tacotron2.decoder.attention_layer, WEIGHT_BYTES[precision]
    batch, tokens, frames = work.batch, work.tokens, work.frames
    steps = frames // config.n_frames_per_step
    encoder = _weights(tacotron2.encoder) + _weights(attention.memory_layer)
    memory = batch * tokens * (config.encoder_embedding_dim + config.attention_dim)
    a_token = _weights(attention.location_layer) + _weights(attention.v)
    a_step = _weights(decoder) - _weights(attention.memory_layer) - a_token
    products = a_step + tokens * (a_token + config.encoder_embedding_dim)  # the last one makes the context
    postnet, mel = _weights(tacotron2.postnet), batch * frames * config.n_mel_channels
    samples = batch * frames * vocoder.hop_length
    return {
        "encoder": Work(2.0 * batch * tokens * encoder, size * encoder + 4.0 * memory),
        "decoder": Work(2.0 * batch * steps * products, steps * (size * (a_step + a_token) + 4.0 * memory)),
        "postnet": Work(2.0 * batch * frames * postnet, size * postnet + 8.0 * mel),
        "vocoder": Work(
            2.0 * batch * frames * vocoder.products_per_frame, size * _weights(vocoder) + 4.0 * (mel + 2 * samples)
        ),
    }


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() > 1)


def ceilings(device: str, precision: str) -> dict[str, float]:
    """The best of some matrix products, in operations a second, and of some copies, in bytes read and written."""
    product, copy = _cpu_jobs() if device == "cpu" else _gpu_jobs(device, precision)
    size = CPU_SIZE if device == "cpu" else GPU_SIZE
    return {"operations_per_second": 2.0 * size**3 / product(), "bytes_per_second": 2.0 * COPIED_BYTES / copy()}


def _cpu_jobs() -> tuple[Callable[[], float], Callable[[], float]]:
    a = np.random.default_rng(0).standard_normal((CPU_SIZE, CPU_SIZE), np.float32)
    out, source = np.empty_like(a), np.ones(COPIED_BYTES, np.uint8)
    target = np.empty_like(source)

    def best(job: Callable[[], object]) -> float:
        seconds = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            job()
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    return lambda: best(lambda: np.matmul(a, a, out=out)), lambda: best(lambda: np.copyto(target, source))


def _gpu_jobs(device: str, precision: str) -> tuple[Callable[[], float], Callable[[], float]]:
    import torch

    from .pytorch import DTYPES

    a = torch.randn(GPU_SIZE, GPU_SIZE, device=device).to(DTYPES[precision])
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target, clock = torch.empty_like(source), clock_for(device)

    def best(job: Callable[[], object]) -> float:
        seconds = []
        for _ in range(REPEATS):
            clock.start()
            job()
            clock.lap("job")
            seconds.append(clock.seconds()["job"])
        return min(seconds)

    return lambda: best(lambda: a @ a), lambda: best(lambda: target.copy_(source))
