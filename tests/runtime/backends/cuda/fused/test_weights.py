"""A decoder step's weights, read from graphs by their structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tacoglow.models import load_tacotron2
from tacoglow.runtime.backends.cuda.fused.weights import UnknownStructure, load_weights, read_weights
from tacoglow.runtime.bundle.manifest import TensorSpec
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.conftest import TinyCheckpoints


@pytest.fixture
def step(tiny_bundle: Path) -> tuple[onnx.ModelProto, dict[str, TensorSpec]]:
    return onnx.load(tiny_bundle / "decoder_step.onnx"), load_manifest(tiny_bundle).graphs["decoder_step"].tensors


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with other names for all nodes, constants and inner values."""
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}

    def rename(name: str) -> str:
        return name if name in fixed or not name else f"v{abs(hash(name))}"

    for node in model.graph.node:
        node.name = rename(node.name)
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for tensor in (*model.graph.initializer, *model.graph.value_info):
        tensor.name = rename(tensor.name)
    return model


def as_mul_and_sum(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with each Gemm, and each MatMul by a constant, written as Mul and ReduceSum."""
    graph, nodes = model.graph, []
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    graph.initializer.append(numpy_helper.from_array(np.array([-2]), "before_last"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "last"))
    for i, node in enumerate(graph.node):
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in constants:
            nodes.append(node)
            continue
        weight = constants[node.input[1]]
        weight = weight if node.op_type == "Gemm" else weight.T  # [outputs, inputs]
        wide, product, total = f"wide{i}", f"product{i}", f"sum{i}"
        if len(weight) == 1:  # the energy, of [B, T, A]
            graph.initializer.append(numpy_helper.from_array(weight[0], f"weight{i}"))
            nodes.append(helper.make_node("Mul", [node.input[0], f"weight{i}"], [product]))
            nodes.append(helper.make_node("ReduceSum", [product, "last"], [node.output[0]], keepdims=1))
            continue
        graph.initializer.append(numpy_helper.from_array(weight[None], f"weight{i}"))
        nodes.append(helper.make_node("Unsqueeze", [node.input[0], "before_last"], [wide]))
        nodes.append(helper.make_node("Mul", [wide, f"weight{i}"], [product]))
        has_bias = len(node.input) > 2
        nodes.append(
            helper.make_node("ReduceSum", [product, "last"], [total if has_bias else node.output[0]], keepdims=0)
        )
        if has_bias:
            nodes.append(helper.make_node("Add", [total, node.input[2]], [node.output[0]]))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


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


@pytest.mark.parametrize("rewrite", [renamed, as_mul_and_sum, lambda model: renamed(as_mul_and_sum(model))])
def test_neither_names_nor_the_way_a_product_is_written_matter(
    step: tuple[onnx.ModelProto, dict[str, TensorSpec]], rewrite: object
) -> None:
    model, tensors = step
    expected = read_weights(model, tensors)
    got = read_weights(rewrite(model), tensors)  # type: ignore[operator]
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(got, name), array, name)


def test_another_structure_is_named(step: tuple[onnx.ModelProto, dict[str, TensorSpec]]) -> None:
    model, tensors = step
    query = next(node for node in model.graph.node if node.op_type == "MatMul" and "query" in node.name)
    query.op_type = "Einsum"
    with pytest.raises(UnknownStructure, match=r"expected layers 8x16, 8x8, .*, found 8x16, 8x8, "):
        read_weights(model, tensors)


def test_a_convolution_of_another_kind_is_named(step: tuple[onnx.ModelProto, dict[str, TensorSpec]]) -> None:
    model, tensors = step
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    for attribute in convolution.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [0, 6]
    with pytest.raises(UnknownStructure, match=r"padded to the same length, found pads \[0, 6\]"):
        read_weights(model, tensors)


def test_without_onnx_the_error_says_so(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BackendError, match=r"onnx, which is not installed \(pip install onnx\)"):
        load_weights(tiny_bundle, load_manifest(tiny_bundle))
