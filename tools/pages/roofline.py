"""Compares the work of each stage with the machine's ceilings, which are measured in the same run.

Operations are those of the PyTorch modules: two for every weight at every position where it is used. Bytes are the
weights, once per pass over them (the decoder reads its weights at every step), plus the stage's inputs and outputs.
Folding reduces the operations of a graph, and a cache avoids reading weights again, so a share of a ceiling may
exceed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...benchmarks.workload import Workload

if TYPE_CHECKING:
    from torch import nn

    from ...benchmarks.voices import Models
    from ...models import Tacotron2, Vocoder

Row = dict[str, Any]
WEIGHT_BYTES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2}
ACTIVATION_BYTES = 4  # stages exchange float32


@dataclass(frozen=True)
class StageCost:
    operations: float
    bytes: float


def add_achieved(rows: Sequence[Row], models: Models) -> None:
    """Store in each row's "achieved" the rates of its stages; of none if its precision differs between stages."""
    for row in rows:
        if row["precision"] not in WEIGHT_BYTES:
            row["achieved"] = {}
            continue
        costs = stage_costs(models, Workload(row["batch"], row["tokens"], row["frames"]), row["precision"])
        row["achieved"] = {
            stage: {
                "operations_per_second": costs[stage].operations / seconds,
                "bytes_per_second": costs[stage].bytes / seconds,
            }
            for stage, seconds in row.get("stages", {}).items()
            if stage in costs
        }


def stage_costs(models: Models, work: Workload, precision: str) -> dict[str, StageCost]:
    """Return the cost of each stage for the whole batch."""
    size = WEIGHT_BYTES[precision]
    return {
        "encoder": _encoder_cost(models.tacotron2, work, size),
        "decoder": _decoder_cost(models.tacotron2, work, size),
        "postnet": _postnet_cost(models.tacotron2, work, size),
        "vocoder": _vocoder_cost(models.vocoder, work, size, models.tacotron2.config.n_mel_channels),
    }


def _encoder_cost(tacotron2: Tacotron2, work: Workload, size: int) -> StageCost:
    weights = _weights(tacotron2.encoder) + _weights(tacotron2.decoder.attention_layer.memory_layer)
    operations = 2.0 * work.batch * work.tokens * weights
    return StageCost(operations, size * weights + ACTIVATION_BYTES * _memory_values(tacotron2, work))


def _decoder_cost(tacotron2: Tacotron2, work: Workload, size: int) -> StageCost:
    config, attention = tacotron2.config, tacotron2.decoder.attention_layer
    steps = work.frames // config.n_frames_per_step
    per_token = _weights(attention.location_layer) + _weights(attention.v)
    per_step = _weights(tacotron2.decoder) - _weights(attention.memory_layer) - per_token
    # The last summand is the attention context, a weighted sum over the memory.
    products = per_step + work.tokens * (per_token + config.encoder_embedding_dim)
    step_bytes = size * (per_step + per_token) + ACTIVATION_BYTES * _memory_values(tacotron2, work)
    return StageCost(2.0 * work.batch * steps * products, steps * step_bytes)


def _postnet_cost(tacotron2: Tacotron2, work: Workload, size: int) -> StageCost:
    weights, frames = _weights(tacotron2.postnet), work.batch * work.frames
    mel_values = frames * tacotron2.config.n_mel_channels
    return StageCost(2.0 * frames * weights, size * weights + ACTIVATION_BYTES * 2 * mel_values)


def _vocoder_cost(vocoder: Vocoder, work: Workload, size: int, mel_channels: int) -> StageCost:
    frames = work.batch * work.frames
    values = frames * (mel_channels + vocoder.hop_length)
    if vocoder.takes_noise:
        values += frames * vocoder.hop_length
    operations = 2.0 * frames * vocoder.products_per_frame
    return StageCost(operations, size * _weights(vocoder) + ACTIVATION_BYTES * values)


def _memory_values(tacotron2: Tacotron2, work: Workload) -> int:
    """Values of memory and processed memory."""
    return work.batch * work.tokens * (tacotron2.config.encoder_embedding_dim + tacotron2.config.attention_dim)


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() > 1)
