"""The folded graph modules against the PyTorch modules, and which nodes compute in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from tacoglow.export.graphs import build_graphs
from tacoglow.export.graphs.acoustic import DecoderStepGraph, EncoderGraph, LSTMCell, PostnetGraph
from tacoglow.export.graphs.denoiser import DenoiserGraph
from tacoglow.export.graphs.fold import fold_batch_norm, fold_location, upsampling_as_convolution
from tacoglow.export.graphs.waveglow import WaveGlowGraph
from tacoglow.export.parity import compare
from tacoglow.export.to_onnx import write_onnx
from tacoglow.models import Denoiser, Tacotron2, WaveGlow, load_tacotron2, load_waveglow
from tacoglow.tests.tolerances import FOLDED


@pytest.fixture(scope="module")
def tacotron2(tiny_checkpoints: Any) -> Tacotron2:
    return load_tacotron2(tiny_checkpoints.tacotron2)


@pytest.fixture(scope="module")
def waveglow(tiny_checkpoints: Any) -> WaveGlow:
    return load_waveglow(tiny_checkpoints.waveglow)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def assert_near(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=FOLDED * max(1.0, expected.abs().max().item()), rtol=0.0)


def test_batch_norm_is_folded_into_the_convolution() -> None:
    pair = nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5)).double().eval()
    statistics = pair[1].state_dict()  # shares memory with the module
    statistics["running_mean"].normal_()
    statistics["running_var"].uniform_(0.1, 2.0)
    x = torch.randn(2, 3, 9, dtype=torch.float64)
    torch.testing.assert_close(nn.functional.conv1d(x, *fold_batch_norm(pair)), pair(x))


def test_location_dense_is_folded_into_the_convolution() -> None:
    convolution, dense = nn.Conv1d(2, 4, 5, padding=2, bias=False).double(), nn.Linear(4, 6, bias=False).double()
    x = torch.randn(2, 2, 9, dtype=torch.float64)
    folded = nn.functional.conv1d(x, fold_location(convolution, dense), padding=2)
    torch.testing.assert_close(folded.transpose(1, 2), dense(convolution(x).transpose(1, 2)))


# Kernels: a multiple of the stride, not a multiple, and the stride itself (no overlap).
@pytest.mark.parametrize("kernel", [32, 29, 8])
def test_upsampling_equals_a_convolution_over_frames(kernel: int) -> None:
    upsample = nn.ConvTranspose1d(3, 3, kernel, stride=8).double()
    mel = torch.randn(2, 3, 5, dtype=torch.float64)
    expected = upsample(mel)[:, :, :40]
    if expected.shape[2] < 40:
        expected = nn.functional.pad(expected, (0, 40 - expected.shape[2]))
    weight, bias = upsampling_as_convolution(upsample, n_group=4)
    got = nn.functional.conv1d(nn.functional.pad(mel, (weight.shape[2] - 1, 0)), weight, bias)
    # [B, M * n_group * groups, F] -> samples in order
    got = got.reshape(2, 3, 4, 2, 5).permute(0, 1, 4, 3, 2).reshape(2, 3, 40)
    torch.testing.assert_close(got, expected)


def test_lstm_cell_equals_torch() -> None:
    cell = nn.LSTMCell(5, 7)
    x, hidden, state = torch.randn(3, 5), torch.randn(3, 7), torch.randn(3, 7)
    for got, expected in zip(LSTMCell(cell, torch.float32)(x, hidden, state), cell(x, (hidden, state)), strict=True):
        assert_near(got, expected)


def test_encoder_equals_the_module(tacotron2: Tacotron2) -> None:
    ids, lengths = torch.randint(1, 148, (3, 9)), torch.tensor([4, 9, 1])
    outputs = EncoderGraph(tacotron2, torch.float32)(ids, lengths)
    for got, expected in zip(outputs, tacotron2.encode(ids, lengths), strict=True):
        assert_near(got.float(), expected.float())


def test_decoder_steps_equal_the_module(tacotron2: Tacotron2) -> None:
    """Both run twenty steps, each on its own outputs."""
    encoded = tacotron2.encode(torch.randint(1, 148, (2, 6)), torch.tensor([6, 4]))
    graph, decoder = DecoderStepGraph(tacotron2.decoder, torch.float32), tacotron2.decoder
    frame = graph_frame = torch.zeros(2, tacotron2.config.n_mel_channels)
    state = decoder.initial_state(encoded[0])
    states: tuple[torch.Tensor, ...] = tuple(state)
    for _ in range(20):
        dropout = torch.randint(0, 2, (2, 2, tacotron2.config.prenet_dim)) * 2.0
        frame, gate, state = decoder(frame, dropout, state, *encoded)
        graph_frame, graph_gate, *rest = graph(graph_frame, dropout, *states, *encoded)
        states = tuple(rest)
        for got, expected in zip((graph_frame, graph_gate, *states), (frame, gate, *state), strict=True):
            assert_near(got, expected)


def test_postnet_equals_the_module(tacotron2: Tacotron2) -> None:
    mel, lengths = torch.randn(2, tacotron2.config.n_mel_channels, 11), torch.tensor([7, 11])
    got = PostnetGraph(tacotron2.postnet, torch.float32)(mel, lengths)
    assert_near(got, tacotron2.postnet(mel, lengths))
    assert (got[0, :, 7:] == 0).all()


def test_waveglow_and_denoiser_equal_the_modules(waveglow: WaveGlow) -> None:
    mel, z = torch.randn(2, waveglow.config.n_mel_channels, 6), torch.randn(2, 8, 6 * 32)
    audio = waveglow(mel, z)
    assert_near(WaveGlowGraph(waveglow, torch.float32)(mel, z), audio)
    denoiser = Denoiser(waveglow, 512)
    strength = torch.tensor([0.7])
    assert_near(DenoiserGraph(denoiser)(audio, strength), denoiser(audio, strength))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_sensitive_nodes_compute_in_float32(
    tacotron2: Tacotron2, waveglow: WaveGlow, tmp_path: Path, precision: str
) -> None:
    """Softmax, exp, the encoder's LSTM and the 1x1 inverses use float32; heavy products use half precision."""
    half = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    products: set[int] = set()
    for graph in build_graphs(tacotron2, waveglow, Denoiser(waveglow, 512), precision):
        path = tmp_path / f"{graph.name}.onnx"
        write_onnx(graph, path, precision)
        model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        types |= {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        for value in (*model.graph.input, *model.graph.output):
            assert types[value.name] != half, f"{graph.name}: {value.name} is an input or output in half precision"
        for node in model.graph.node:
            if node.op_type in ("Softmax", "Exp", "LSTM"):
                assert types[node.output[0]] == TensorProto.FLOAT, f"{graph.name}: {node.name}"
            if node.op_type == "Conv" and "inverses" in node.name:
                assert types[node.output[0]] == TensorProto.FLOAT
            if node.op_type in ("Conv", "Gemm", "MatMul") and graph.name != "denoiser":
                products.add(types[node.output[0]])
    assert half in products


def test_nan_fails_the_parity_check() -> None:
    """A weight outside the range of float16 becomes Inf and may lead to NaN, which must not pass the check."""
    entry = compare(np.array([np.nan]), np.array([1.0]), 1.0)
    assert not entry.max_abs_error <= entry.tolerance
