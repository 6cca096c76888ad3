"""Runs the PyTorch modules the way NVIDIA's published inference scripts do: the reference of the benchmark.

Python runs one decoder step at a time. Every step has three concatenations that grow with the utterance, and a check of
the gates, which synchronizes with the GPU. The inverses of the 1x1 convolutions are computed once, as in those scripts.
Noise is generated before the clock starts; copies to and from a GPU are part of the time, as they are of a bundle's.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..models import Tacotron2, Vocoder
from ..models.tacotron2 import DecoderState
from ..models.waveglow import Invertible1x1Conv
from .clock import clock_for
from .pipelines import Pipeline, PipelineOutput
from .voices import Models
from .workload import Workload, token_ids

Function = Callable[..., Any]
Mode = Literal["eager", "TorchScript", "torch.compile", "autocast", "dynamic quantization", "CUDA graphs"]
GPU_MODES: tuple[Mode, ...] = ("eager", "TorchScript", "CUDA graphs")  # what is timed on a GPU
# PyTorch's own ways to fewer bits on a CPU, and the precision of products: of all, or of LSTM cells and linear layers.
ROUNDED: dict[Mode, str] = {"autocast": "bf16", "dynamic quantization": "int8"}
DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "tf32": torch.float32,  # whose products a GPU rounds to 10 bits of mantissa
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


class PyTorchPipeline(Pipeline):
    """mode: how the modules are called; "CUDA graphs" needs a CUDA device. device: a PyTorch device name."""

    def __init__(
        self,
        models: Models,
        mode: Mode = "eager",
        device: str = "cpu",
        precision: str = "fp32",
        is_timed: bool = True,
    ) -> None:
        """precision: of the weights, if the mode does not say."""
        self.is_timed = is_timed
        self.name, self.precision = f"PyTorch {mode}", ROUNDED.get(mode, precision)
        self.device = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
        self._where: dict[str, Any] = {"device": device, "dtype": DTYPES[precision]}
        self._models, self._mode, self._clock = models, mode, clock_for(device)
        # Autocast rounds a weight once per run, and not at every step, only if the weight could be trained.
        is_cast = mode == "autocast"
        self._tacotron2: Tacotron2 = copy.deepcopy(models.tacotron2).to(**self._where).requires_grad_(is_cast)
        self._vocoder = _with_inverses(models.vocoder).to(**self._where).requires_grad_(is_cast)
        if mode == "dynamic quantization":
            self._tacotron2 = _quantize(self._tacotron2)
        self._functions: dict[tuple[Workload, str], Function] = {}

    @torch.inference_mode()
    def synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=self._mode == "autocast")
        with autocast, products_in(self.precision):
            return self._synthesize(work)

    def _synthesize(self, work: Workload) -> tuple[PipelineOutput, dict[str, float]]:
        inputs = self._inputs(work)
        self._clock.start()
        ids, lengths, dropout, *z = (tensor.to(self._where["device"]) for tensor in inputs)
        encoded = self._call(work, "encoder", self._tacotron2.encode, ids, lengths)
        self._clock.lap("encoder")
        mel = self._decode(work, encoded, dropout)
        self._clock.lap("decoder")
        mel = self._call(work, "postnet", self._tacotron2.postnet, mel, torch.full_like(lengths, work.frames))
        self._clock.lap("postnet")
        audio = self._call(work, "vocoder", self._vocoder.generate, mel, *z)
        output = PipelineOutput(mel.float().cpu().numpy(), audio.float().cpu().numpy())
        self._clock.lap("vocoder")
        return output, self._clock.seconds()

    def _decode(self, work: Workload, encoded: tuple[Tensor, ...], dropout: Tensor) -> Tensor:
        """Return the mel [B, M, F] before the postnet."""
        config = self._tacotron2.config
        frames = encoded[0].new_zeros(work.batch, config.step_mel_size)
        state: tuple[Tensor, ...] = self._tacotron2.decoder.initial_state(encoded[0])
        mel, gates, alignments = frames[:, None][:, :0], frames[:, :0], encoded[1].new_zeros(work.batch, 0, work.tokens)
        for step in range(work.frames // config.n_frames_per_step):
            frames, gate, *state = self._call(work, "step", self._step, frames, dropout[:, step], *encoded, *state)
            mel = torch.cat((mel, frames[:, None]), 1)
            gates = torch.cat((gates, gate), 1)
            alignments = torch.cat((alignments, DecoderState(*state).attention_weights[:, None]), 1)
            if bool((torch.sigmoid(gate) > 1.0).all()):  # never true: the workload sets the length
                break
        return mel.reshape(work.batch, work.frames, config.n_mel_channels).transpose(1, 2)

    def _step(self, frames: Tensor, dropout: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        encoded, state = rest[:3], DecoderState(*rest[3:])
        frames, gate, state = self._tacotron2.decoder(frames, dropout, state, *encoded)
        return frames, gate, *state

    def _call(self, work: Workload, name: str, function: Function, *inputs: Tensor) -> Any:
        if (
            self._mode == "eager"
            or self._mode in ROUNDED
            or (self._mode in ("torch.compile", "CUDA graphs") and name == "encoder")
        ):
            return function(*inputs)  # the encoder packs its sequence on the host, which neither can capture
        if (work, name) not in self._functions:
            self._functions[work, name] = _COMPILERS[self._mode](function, inputs)
        return self._functions[work, name](*inputs)

    def _inputs(self, work: Workload) -> tuple[Tensor, ...]:
        """Return ids [B, T], their lengths [B], dropout masks [B, steps, 2, P], and z [B, group, groups] if used."""
        config, dtype = self._tacotron2.config, self._where["dtype"]
        steps = work.frames // config.n_frames_per_step
        ids = torch.tensor([token_ids(self._models.front_end, work.tokens)] * work.batch)
        dropout = np.stack([noise.prenet_dropout(0, steps, 2, config.prenet_dim) for noise in work.noises()])
        inputs = ids, torch.full((work.batch,), work.tokens), torch.from_numpy(dropout).to(dtype)
        if not self._vocoder.takes_noise:
            return inputs
        n_group, groups = self._vocoder.noise_shape(work.frames)
        z = np.stack([noise.z(0, groups, n_group) for noise in work.noises()]) * self._models.voice.sigma
        return *inputs, torch.from_numpy(z).to(dtype)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Allow a GPU TensorFloat-32 for "tf32" alone. PyTorch's default has it in convolutions and LSTMs, tacoglow not."""
    convolutions, matrices = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, matrices.allow_tf32
    convolutions.allow_tf32 = matrices.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, matrices.allow_tf32 = before


def _with_inverses(vocoder: Vocoder) -> Vocoder:
    """Return a copy whose invertible 1x1 convolutions, if any, are replaced by their inverses, computed once."""
    copied = copy.deepcopy(vocoder)
    for name, convolution in vocoder.named_modules():
        if isinstance(convolution, Invertible1x1Conv):
            inverse = nn.Conv1d(convolution.weight.shape[1], convolution.weight.shape[0], 1, bias=False)
            inverse.weight = nn.Parameter(convolution.inverse())
            copied.set_submodule(name, inverse)
    return copied


def _quantize(tacotron2: Tacotron2) -> Tacotron2:
    """Return a copy whose LSTM cells and linear layers have 8-bit weights; PyTorch has no such convolutions."""
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in favour of a package that has no LSTM
        quantized: Tacotron2 = quantize_dynamic(tacotron2, {nn.LSTM, nn.LSTMCell, nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    return quantized


def _trace(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer PyTorch warns that TorchScript is deprecated
        traced: Function = torch.jit.trace(lambda *own: function(*own), inputs, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


class _CudaGraph:
    """A function captured as a CUDA graph with its own buffers; its outputs are valid until the next call."""

    def __init__(self, function: Function, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # first calls allocate memory and select kernels, which cannot be captured
            for _ in range(3):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._outputs


def _compile(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    compiled: Function = torch.compile(function, dynamic=False)
    return compiled


_COMPILERS: dict[str, Callable[[Function, tuple[Tensor, ...]], Function]] = {
    "TorchScript": _trace,
    "torch.compile": _compile,
    "CUDA graphs": _CudaGraph,
}
