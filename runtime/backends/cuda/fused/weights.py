"""Reads the weights of a decoder step from a bundle's graph, by its structure and not by its nodes' names.

A decoder step is a chain of seven layers, each of which needs the one before it, so that any order in which the graph's
nodes can run has them in this order: two of the prenet, the attention LSTM's gates, the query, the energy, the decoder
LSTM's gates, the projection to mel and gate. A layer may be written as a MatMul, a Gemm, or a Mul and a ReduceSum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....bundle.manifest import Manifest, TensorSpec
from ....bundle.reading import graph_path
from ....errors import BackendError

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
FloatArray = NDArray[np.float32]


class UnknownStructure(ValueError):  # noqa: N818 - which is no error of the graph
    """The graph is written in a way that this reader does not know."""


@dataclass(frozen=True)
class DecoderWeights:
    """A decoder step in float32; rows are outputs, and an LSTM's rows are its gates i, f, g, o."""

    prenet_1: FloatArray  # [P, M]
    prenet_2: FloatArray  # [P, P]
    attention_rnn: FloatArray  # [4 RA, P + E + RA]
    attention_bias: FloatArray  # [4 RA]
    query: FloatArray  # [A, RA]
    location: FloatArray  # [A, 2, taps]
    energy: FloatArray  # [A]
    decoder_rnn: FloatArray  # [4 RD, RA + E + RD]
    decoder_bias: FloatArray  # [4 RD]
    projection: FloatArray  # [M + 1, RD + E], the gate last
    projection_bias: FloatArray  # [M + 1]

    @property
    def dims(self) -> dict[str, int]:
        """The kernel's dimensions; M is all mel bands of a step: frames per step times bands."""
        attention_rnn, decoder_rnn = len(self.attention_bias) // 4, len(self.decoder_bias) // 4
        return {
            "MEL": len(self.projection) - 1,
            "PRENET": len(self.prenet_1),
            "ENCODER": self.projection.shape[1] - decoder_rnn,
            "ATTENTION": len(self.energy),
            "ATTENTION_RNN": attention_rnn,
            "DECODER_RNN": decoder_rnn,
            "TAPS": self.location.shape[2],
        }


def load_weights(bundle: Path, manifest: Manifest) -> DecoderWeights:
    """Read the weights of the bundle's decoder_step. Raises BackendError if the fused decoder cannot take them."""
    try:
        import onnx
    except ImportError as error:
        raise BackendError(
            "the fused decoder reads its weights with onnx, which is not installed (pip install onnx)"
        ) from error
    path = graph_path(bundle, "decoder_step", manifest.graphs["decoder_step"])
    try:
        return read_weights(onnx.load(path), manifest.graphs["decoder_step"].tensors)
    except UnknownStructure as error:
        raise BackendError(
            f"{path}: not a structure that the fused decoder knows: {error}; use --decoder engine"
        ) from error


def read_weights(model: onnx.ModelProto, tensors: Mapping[str, TensorSpec]) -> DecoderWeights:
    """Find the weights in a decoder_step graph. tensors: decoder_step's inputs and outputs, by name.

    Raises UnknownStructure, which says what was expected and what was found.
    """

    def width(name: str) -> int:
        return int(tensors[name].shape[-1])

    mel, prenet, attention = width("mel_frame"), width("prenet_dropout"), width("processed_memory")
    rnn, decoder, encoder = width("attention_hidden"), width("decoder_hidden"), width("attention_context")
    expected = {  # [outputs, inputs], and whether there is a bias
        "prenet_1": (prenet, mel, False),
        "prenet_2": (prenet, prenet, False),
        "attention_rnn": (4 * rnn, prenet + encoder + rnn, True),
        "query": (attention, rnn, False),
        "energy": (1, attention, False),
        "decoder_rnn": (4 * decoder, rnn + encoder + decoder, True),
        "projection": (mel + 1, decoder + encoder, True),
    }
    reader = _Reader(model)
    layers = list(reader.layers())
    found = [(*layer.weight.shape, layer.bias is not None) for layer in layers]
    if found != list(expected.values()):
        raise UnknownStructure(f"expected layers {_outline(list(expected.values()))}, found {_outline(found)}")
    weights = {name: layer.weight for name, layer in zip(expected, layers, strict=True)}
    biases = {name: layer.bias for name, layer in zip(expected, layers, strict=True)}
    arrays = {
        **weights,
        "energy": weights["energy"][0],
        "attention_bias": biases["attention_rnn"],
        "decoder_bias": biases["decoder_rnn"],
        "projection_bias": biases["projection"],
        "location": reader.convolution(attention),
    }
    return DecoderWeights(**{name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()})


def _outline(layers: list[tuple[Any, ...]]) -> str:
    return ", ".join(f"{n}x{k}{'+bias' if has_bias else ''}" for n, k, has_bias in layers) or "none"


@dataclass(frozen=True)
class _Layer:
    weight: Array  # [outputs, inputs]
    bias: Array | None  # [outputs]


class _Reader:
    """A graph with its constants: initializers, and what follows from them by moving or casting alone."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import helper, numpy_helper, shape_inference

        graph = shape_inference.infer_shapes(model).graph
        self._ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
        self._nodes = list(graph.node)  # in an order in which they can run
        self._constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        self._attributes: Callable[[onnx.NodeProto], dict[str, Any]] = lambda node: {
            attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
        }
        for node in self._nodes:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
            if node.op_type == "Constant":
                value = self._attributes(node).get("value")
                if value is not None:
                    self._constants[node.output[0]] = numpy_helper.to_array(value)
            elif node.op_type in _MOVES and all(name in self._constants for name in node.input):
                operands = [self._constants[name] for name in node.input]
                self._constants[node.output[0]] = _MOVES[node.op_type](*operands, **self._attributes(node))

    def layers(self) -> Iterator[_Layer]:
        """List the layers with constant weights, in the order in which they run."""
        for node in self._nodes:
            if node.op_type == "Gemm" and node.input[1] in self._constants:
                attributes = self._attributes(node)
                weight = self._constants[node.input[1]]
                bias = self._constants.get(node.input[2]) if len(node.input) > 2 else None
                if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
                    raise UnknownStructure(f"Gemm {node.name} is scaled")
                yield _Layer(weight if attributes.get("transB") else weight.T, bias)
            elif node.op_type == "MatMul" and (operand := self._constant_operand(node)) is not None:
                position, weight = operand
                matrix = _matrix(weight)
                yield _Layer(matrix if position == 0 else matrix.T, self._bias(node.output[0]))
            elif node.op_type == "Mul" and (operand := self._constant_operand(node)) is not None:
                sums = [user for user in self._consumers.get(node.output[0], []) if user.op_type == "ReduceSum"]
                if sums:
                    _, weight = operand
                    yield _Layer(self._rows_of_sum(sums[0], weight), self._bias(sums[0].output[0]))

    def convolution(self, channels: int) -> Array:
        """Return the location layer's weight [channels, 2, taps]."""
        nodes = [node for node in self._nodes if node.op_type in ("Conv", "ConvTranspose")]
        weights = [self._constants.get(node.input[1]) for node in nodes]
        shapes = [None if weight is None else weight.shape for weight in weights]
        if len(nodes) != 1 or weights[0] is None or weights[0].ndim != 3 or weights[0].shape[:2] != (channels, 2):
            raise UnknownStructure(f"expected one location convolution of {channels}x2 channels, found {shapes}")
        taps = weights[0].shape[2]
        attributes = self._attributes(nodes[0])
        pads, dilations = list(attributes.get("pads", [0, 0])), list(attributes.get("dilations", [1]))
        if pads != [(taps - 1) // 2] * 2 or dilations != [1] or len(nodes[0].input) > 2:
            raise UnknownStructure(f"expected a location convolution padded to the same length, found pads {pads}")
        return weights[0]

    def _constant_operand(self, node: onnx.NodeProto) -> tuple[int, Array] | None:
        """Position and value of the one constant operand of several elements, if there is one."""
        found = [(i, self._constants[name]) for i, name in enumerate(node.input) if name in self._constants]
        return found[0] if len(found) == 1 and found[0][1].size > 1 else None

    def _rows_of_sum(self, node: onnx.NodeProto, weight: Array) -> Array:
        """[outputs, inputs] of a weight whose product with a vector is summed over its last axis, or the one before."""
        attributes = self._attributes(node)
        axes = attributes.get("axes") or [int(axis) for axis in self._constants[node.input[1]].reshape(-1)]
        from_the_end = self._ranks[node.input[0]] - axes[0] if axes[0] >= 0 else -axes[0]
        if len(axes) != 1 or from_the_end > 2 or (from_the_end == 2 and weight.ndim < 2):
            raise UnknownStructure(f"ReduceSum {node.name} sums a weight {list(weight.shape)} over axes {axes}")
        if weight.ndim == 1:
            return weight[None]
        return _matrix(weight) if from_the_end == 1 else _matrix(weight).T

    def _bias(self, name: str) -> Array | None:
        """Find the constant that is added to this value, behind casts and changes of shape."""
        for _ in range(8):
            users = self._consumers.get(name, [])
            if len(users) != 1:
                return None
            if users[0].op_type == "Add":
                operand = self._constant_operand(users[0])
                return None if operand is None else operand[1].reshape(-1)
            if users[0].op_type not in ("Cast", "Squeeze", "Unsqueeze", "Reshape", "Identity"):
                return None
            name = users[0].output[0]
        return None


def _matrix(weight: Array) -> Array:
    """Return the weight without leading axes of size one."""
    if weight.ndim < 2 or weight.size != weight.shape[-1] * weight.shape[-2]:
        raise UnknownStructure(f"a weight of shape {list(weight.shape)} is not one matrix")
    return weight.reshape(weight.shape[-2:])


def _transpose(array: Array, perm: list[int] | None = None) -> Array:
    return np.transpose(array, perm)


def _squeeze(array: Array, axes: Array | None = None) -> Array:
    return np.squeeze(array, None if axes is None else tuple(int(axis) for axis in np.reshape(axes, -1)))


def _unsqueeze(array: Array, axes: Array) -> Array:
    return np.expand_dims(array, tuple(int(axis) for axis in np.reshape(axes, -1)))


# Operators that move or cast a constant; casts are to float types, and the arrays end as float32 anyway.
_MOVES: dict[str, Callable[..., Array]] = {
    "Cast": lambda array, to: array,
    "Identity": lambda array: array,
    "Reshape": lambda array, shape: array.reshape([int(size) for size in shape]),
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
