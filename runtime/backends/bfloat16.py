"""Rewrites bfloat16 graphs for a backend without bfloat16 kernels: the same numbers, computed in float32.

ONNX Runtime's CPU provider cannot run a bfloat16 node. A bfloat16 number is a float32 whose lower 16 bits are zero,
so the graph is rewritten to float32 with every intermediate result rounded to bfloat16. A GPU's tensor cores compute
the same (products of bfloat16, sums in float32, the result rounded); here it runs at the speed of float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BackendError

if TYPE_CHECKING:
    import onnx

# Operators that only copy or drop values, so that rounded inputs give rounded outputs.
_EXACT = frozenset(
    "Concat Constant Expand Gather Identity Pad Relu Reshape Slice Split Squeeze Transpose Unsqueeze".split()
)


def widen_to_float32(path: Path) -> bytes:
    """Return the graph at `path`, serialized, with float32 for bfloat16. Raises BackendError if onnx is missing."""
    try:
        import onnx
    except ImportError as error:
        raise BackendError(
            "a bf16 bundle on the CPU needs the onnx package (pip install onnx), or export with --precision fp32"
        ) from error
    model = onnx.load(path)
    bfloat16 = onnx.TensorProto.BFLOAT16
    inferred = onnx.shape_inference.infer_shapes(model)
    narrow = {value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == bfloat16}
    for tensor in model.graph.initializer:
        _widen_tensor(tensor)
    nodes = []
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == bfloat16:
                attribute.i = onnx.TensorProto.FLOAT
            _widen_tensor(attribute.t)
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in narrow and node.op_type not in _EXACT:
                node.output[i] = f"{name}_unrounded"
                nodes += _round_nodes(node.output[i], name)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    serialized: bytes = model.SerializeToString()
    return serialized


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    import onnx
    from onnx import numpy_helper

    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), name))


def _round_nodes(source: str, target: str) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    narrowed = f"{target}_bfloat16"
    return [
        helper.make_node("Cast", [source], [narrowed], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", [narrowed], [target], to=TensorProto.FLOAT),
    ]
