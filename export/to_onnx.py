"""One graph -> one ONNX file.

Opset 17 is the newest that TensorRT 8.6's parser takes. ONNX's Conv knows bfloat16 from opset 22 on only, so bf16
graphs are lifted to 22; the TensorRT versions that know bfloat16 (10 and later) parse it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from onnx import version_converter

from ..runtime.manifest import TensorSpec
from .errors import ExportError
from .graphs import Graph

OPSET = 17
BF16_OPSET = 22
# Larger than any size-one special case of the tracer, and different per letter, so that a mix-up cannot trace.
TRACE_DIMS = {"B": 2, "T": 13, "F": 11, "S": 4096}


def opset_for(precision: str) -> int:
    return BF16_OPSET if precision == "bf16" else OPSET


def write_onnx(graph: Graph, path: Path, precision: str) -> None:
    """Trace the graph's module and write it to `path`, checked by ONNX with full shape inference."""
    with warnings.catch_warnings():
        # The tracing exporter is the one that still writes opset 17; it announces its own deprecation, and that a
        # batched LSTM wants its initial states as inputs, which these are not.
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
    _state_shapes(model, graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{graph.name}: the exported graph is not valid ONNX: {error}") from error
    onnx.save(model, path)


def _dynamic_axes(tensor: TensorSpec) -> dict[int, str]:
    return {axis: entry for axis, entry in enumerate(tensor.shape) if isinstance(entry, str)}


def _state_shapes(model: onnx.ModelProto, graph: Graph) -> None:
    """Write the specs' shapes over what the tracer inferred, which names some output dimensions after itself."""
    specs = {tensor.name: tensor for tensor in (*graph.inputs, *graph.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, entry in zip(dims, specs[value.name].shape, strict=True):
            if isinstance(entry, int):
                dim.dim_value = entry
            else:
                dim.dim_param = entry
