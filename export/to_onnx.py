"""Writes one graph as one ONNX file.

Opset 17 is the newest that TensorRT 8.6 can parse. Opset 22 is the first whose Conv accepts bfloat16, so bf16 graphs
are converted to it; the TensorRT versions that support bfloat16 (10 and later) can parse it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from onnx import version_converter

from ..runtime.bundle.manifest import TensorSpec
from ..runtime.errors import ExportError
from .graphs import Graph

OPSET = 17
BF16_OPSET = 22
# Larger than 1, which the tracer treats specially, and different per letter, so that a mix-up fails to trace.
TRACE_DIMS = {"B": 2, "T": 13, "F": 11, "S": 4096}


def opset_for(precision: str) -> int:
    return BF16_OPSET if precision == "bf16" else OPSET


def write_onnx(graph: Graph, path: Path, precision: str) -> None:
    """Trace the graph's module and write it to `path`, checked by ONNX with full shape inference.

    Raises ExportError if the graph is not valid.
    """
    with warnings.catch_warnings():
        # Only the tracing exporter still writes opset 17. It warns that it is deprecated, and that a batched LSTM
        # should have its initial states as inputs, which this one does not need.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            graph.example_inputs(TRACE_DIMS),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in graph.inputs],
            output_names=[tensor.name for tensor in graph.outputs],
            dynamic_axes={tensor.name: _dynamic_axes(tensor) for tensor in (*graph.inputs, *graph.outputs)},
        )
    model = onnx.load(path)
    if opset_for(precision) != OPSET:
        model = version_converter.convert_version(model, opset_for(precision))
    _set_shapes(model, graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{graph.name}: the exported graph is not valid ONNX: {error}") from error
    onnx.save(model, path)


def _dynamic_axes(tensor: TensorSpec) -> dict[int, str]:
    return {axis: entry for axis, entry in enumerate(tensor.shape) if isinstance(entry, str)}


def _set_shapes(model: onnx.ModelProto, graph: Graph) -> None:
    """Replace the shapes that the tracer inferred, with its own names for some output dimensions, by the specs'."""
    specs = {tensor.name: tensor for tensor in (*graph.inputs, *graph.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, entry in zip(dims, specs[value.name].shape, strict=True):
            if isinstance(entry, int):
                dim.dim_value = entry
            else:
                dim.dim_param = entry
