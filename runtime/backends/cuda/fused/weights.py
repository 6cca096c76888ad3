"""Reads the weights of a decoder step from a bundle's graph, as export/graphs writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....bundle.manifest import Manifest, TensorSpec
from ....bundle.reading import graph_path
from ....errors import BackendError

if TYPE_CHECKING:
    import onnx

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

    The exporter keeps the names of weights, except of those whose product has no bias: they are the constants of the
    three MatMul nodes, two of the prenet and the query's, transposed. Raises UnknownStructure.
    """
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = [node.input[1] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    if len(products) != 3:
        raise UnknownStructure(f"expected three products by constants without a bias, found {len(products)}")

    def width(name: str) -> int:
        return int(tensors[name].shape[-1])

    mel, prenet, attention = width("mel_frame"), width("prenet_dropout"), width("processed_memory")
    rnn, decoder, encoder = width("attention_hidden"), width("decoder_hidden"), width("attention_context")

    def read(name: str, *shape: int, is_transposed: bool = False) -> FloatArray:
        array = constants.get(name)
        found = "nothing" if array is None else list(array.T.shape if is_transposed else array.shape)
        if array is None or found != list(shape):
            raise UnknownStructure(f"{name}: expected {list(shape)}, found {found}")
        return np.ascontiguousarray(array.T if is_transposed else array, np.float32)

    taps = constants["location.weight"].shape[-1] if "location.weight" in constants else 0
    return DecoderWeights(
        prenet_1=read(products[0], prenet, mel, is_transposed=True),
        prenet_2=read(products[1], prenet, prenet, is_transposed=True),
        attention_rnn=read("attention_rnn.gates.weight", 4 * rnn, prenet + encoder + rnn),
        attention_bias=read("attention_rnn.gates.bias", 4 * rnn),
        query=read(products[2], attention, rnn, is_transposed=True),
        location=read("location.weight", attention, 2, taps),
        energy=read("energy", attention),
        decoder_rnn=read("decoder_rnn.gates.weight", 4 * decoder, rnn + encoder + decoder),
        decoder_bias=read("decoder_rnn.gates.bias", 4 * decoder),
        projection=read("projection.weight", mel + 1, decoder + encoder),
        projection_bias=read("projection.bias", mel + 1),
    )
