"""A decoder step's weights, read from the graphs that the exporter writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tacoglow.models import load_tacotron2
from tacoglow.runtime.backends.cuda.fused.weights import UnknownStructure, load_weights, read_weights
from tacoglow.runtime.bundle.manifest import TensorSpec
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.conftest import TinyCheckpoints


@pytest.fixture
def step(tiny_bundle: Path) -> tuple[onnx.ModelProto, dict[str, TensorSpec]]:
    return onnx.load(tiny_bundle / "decoder_step.onnx"), load_manifest(tiny_bundle).graphs["decoder_step"].tensors


def test_they_are_the_checkpoints(
    step: tuple[onnx.ModelProto, dict[str, TensorSpec]], tiny_checkpoints: TinyCheckpoints
) -> None:
    weights, decoder = read_weights(*step), load_tacotron2(tiny_checkpoints.tacotron2).decoder

    def array(tensor: object) -> np.ndarray:
        return tensor.detach().numpy()  # type: ignore[attr-defined,no-any-return]

    attention = decoder.attention_layer
    np.testing.assert_array_equal(weights.prenet_1, array(decoder.prenet.layers[0].weight))
    np.testing.assert_array_equal(weights.prenet_2, array(decoder.prenet.layers[1].weight))
    np.testing.assert_array_equal(weights.query, array(attention.query_layer.weight))
    np.testing.assert_array_equal(weights.energy, array(attention.v.weight)[0])
    cell = decoder.attention_rnn
    np.testing.assert_array_equal(weights.attention_rnn, np.hstack((array(cell.weight_ih), array(cell.weight_hh))))
    np.testing.assert_allclose(weights.decoder_bias, array(decoder.decoder_rnn.bias_ih + decoder.decoder_rnn.bias_hh))
    gate, frame = decoder.gate_layer, decoder.linear_projection
    np.testing.assert_array_equal(weights.projection, np.vstack((array(frame.weight), array(gate.weight))))
    np.testing.assert_array_equal(weights.projection_bias, np.hstack((array(frame.bias), array(gate.bias))))


def test_another_structure_is_named(step: tuple[onnx.ModelProto, dict[str, TensorSpec]]) -> None:
    model, tensors = step
    query = next(node for node in model.graph.node if node.op_type == "MatMul" and "query" in node.name)
    query.op_type = "Einsum"
    with pytest.raises(UnknownStructure, match="expected three products by constants without a bias, found 2"):
        read_weights(model, tensors)
    query.op_type = "MatMul"
    energy = next(tensor for tensor in model.graph.initializer if tensor.name == "energy")
    energy.name = "other"
    with pytest.raises(UnknownStructure, match=r"energy: expected \[\d+\], found nothing"):
        read_weights(model, tensors)
    energy.name = "energy"
    energy.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), "energy"))
    with pytest.raises(UnknownStructure, match=r"energy: expected \[\d+\], found \[3\]"):
        read_weights(model, tensors)


def test_without_onnx_the_error_says_so(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BackendError, match=r"onnx, which is not installed \(pip install onnx\)"):
        load_weights(tiny_bundle, load_manifest(tiny_bundle))
