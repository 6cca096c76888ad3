"""Defines the five graphs: modules, tensor names, dtypes, symbolic shapes and example inputs.

The ONNX and TorchScript exports and the manifest all use these definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.denoiser import Denoiser
from ...models.tacotron2 import DecoderState, Tacotron2
from ...models.vocoder import Vocoder
from ...runtime.bundle.manifest import DType, TensorSpec
from .acoustic import DecoderStepGraph, EncoderGraph, PostnetGraph
from .denoiser import DenoiserGraph
from .hifigan import HiFiGANGraph
from .waveglow import WaveGlowGraph

COMPUTE_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TORCH_DTYPES: dict[DType, torch.dtype] = {"float32": torch.float32, "int32": torch.int32, "bool": torch.bool}
VOCODER_GRAPHS: dict[str, Callable[..., nn.Module]] = {"waveglow": WaveGlowGraph, "hifigan": HiFiGANGraph}  # by kind
# input of a decoder step: output of the step before it
DECODER_STATES = {"decoder_input": "mel_frame"} | {name: f"{name}_out" for name in DecoderState._fields}


@dataclass(frozen=True)
class Graph:
    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def example_inputs(self, dims: Mapping[str, int]) -> tuple[Tensor, ...]:
        """Return inputs to trace the module with: all ones; masks are true (padding) except in the first column."""
        examples = []
        for spec in self.inputs:
            example = torch.ones(spec.resolve(dims), dtype=TORCH_DTYPES[spec.dtype])
            if spec.dtype == "bool":
                example[:, 0] = False  # the softmax of a fully masked row would be NaN
            examples.append(example)
        return tuple(examples)


def build_graphs(tacotron2: Tacotron2, vocoder: Vocoder, denoiser: Denoiser, precision: str) -> list[Graph]:
    """Build the five graphs of a voice; `precision` is that of their heavy products."""
    compute = COMPUTE_DTYPES[precision]
    acoustic = tacotron2.config
    M, E, A = acoustic.n_mel_channels, acoustic.encoder_embedding_dim, acoustic.attention_dim  # noqa: N806
    memory = _specs("float32", memory=("B", "T", E), processed_memory=("B", "T", A))
    memory += _specs("bool", memory_mask=("B", "T"))
    ids = _specs("int32", token_ids=("B", "T"), token_lengths=("B",))
    mel = _specs("float32", mel=("B", M, "F"))
    z = _noise_specs(vocoder) if vocoder.takes_noise else ()
    states = _state_shapes(tacotron2)
    # decoder_input and mel_frame contain a step's r frames one after the other, in the order of NVIDIA's projection.
    frames: tuple[int | str, ...] = ("B", acoustic.step_mel_size)
    step_in = _specs("float32", decoder_input=frames, prenet_dropout=("B", 2, acoustic.prenet_dim), **states)
    step_out = _specs("float32", mel_frame=frames, gate_logit=("B", 1))
    step_out += _specs("float32", **{f"{name}_out": shape for name, shape in states.items()})
    return [
        Graph("encoder", EncoderGraph(tacotron2, compute), ids, memory),
        Graph("decoder_step", DecoderStepGraph(tacotron2.decoder, compute), step_in + memory, step_out),
        Graph(
            "postnet",
            PostnetGraph(tacotron2.postnet, compute),
            mel + _specs("int32", mel_lengths=("B",)),
            _specs("float32", mel_postnet=("B", M, "F")),
        ),
        Graph(
            vocoder.kind,
            VOCODER_GRAPHS[vocoder.kind](vocoder, compute),
            mel + z,
            _specs("float32", audio=("B", f"F*{vocoder.hop_length}")),
        ),
        Graph(
            "denoiser",
            DenoiserGraph(denoiser),
            _specs("float32", audio=("B", "S"), strength=(1,)),
            _specs("float32", audio_denoised=("B", "S")),
        ),
    ]


def _noise_specs(vocoder: Vocoder) -> tuple[TensorSpec, ...]:
    n_group, groups_per_frame = vocoder.noise_shape(1)
    return _specs("float32", z=("B", n_group, f"F*{groups_per_frame}"))


def _state_shapes(tacotron2: Tacotron2) -> dict[str, tuple[int | str, ...]]:
    config = tacotron2.config
    attention, decoder = config.attention_rnn_dim, config.decoder_rnn_dim
    sizes: tuple[int | str, ...] = (attention, attention, decoder, decoder, "T", "T", config.encoder_embedding_dim)
    return {name: ("B", size) for name, size in zip(DecoderState._fields, sizes, strict=True)}


def _specs(dtype: DType, **shapes: tuple[int | str, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype=dtype, shape=shape) for name, shape in shapes.items())
