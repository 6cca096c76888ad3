"""Target: bundles with a changed graph, whose SHA-256 and manifest are right: types, sizes, names, operators, graphs
within the graph, damaged bytes."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import onnx
import pytest
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import graph_names
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, with_digest
from tacoglow.runtime.errors import BundleError
from tacoglow.tests.robustness.fuzzed_bundle import changed_bundle, speak, tiny_bundle
from tacoglow.tests.robustness.mutations import mutate

GRAPHS = graph_names("waveglow")
TYPES = [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64]
TYPES += [onnx.TensorProto.BOOL, onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING, onnx.TensorProto.UINT8]
MODELS = {name: onnx.load(tiny_bundle() / f"{name}.onnx") for name in GRAPHS}
MANIFEST: dict[str, Any] = json.loads((tiny_bundle() / MANIFEST_NAME).read_bytes())
# No more than a few thousand: what a graph's own computation takes is not bounded (SECURITY.md).
SIZES = st.sampled_from([0, 1, 2, 3, 16, 17, 255, 1024, 4096, -1, "B", "T", "anything", "\x1b[2J"])
PLACES = st.integers(0, 1000)
CHANGES = st.one_of(
    st.tuples(st.just("type"), PLACES, st.sampled_from(TYPES)),
    st.tuples(st.just("size"), PLACES, st.tuples(st.integers(0, 4), SIZES)),
    st.tuples(st.just("name"), PLACES, st.sampled_from(["", "x", "memory", "\x1b[2J\n", "mel_frame" * 99])),
    st.tuples(st.just("operator"), PLACES, st.sampled_from(["Identity", "Relu", "Add", "Nothing", "Loop", "MatMul"])),
    st.tuples(st.just("remove"), PLACES, st.none()),
    st.tuples(st.just("opset"), PLACES, st.sampled_from([0, 1, 6, 17, 99, 2**40])),
    st.tuples(st.just("weights"), PLACES, st.integers(0, 64)),
    st.tuples(st.just("inner graph"), PLACES, st.sampled_from(["Loop", "If", "Scan", "SequenceMap", "Nothing"])),
    st.tuples(st.just("bytes"), PLACES, st.integers(0, 2**32)),
)
CASES = st.tuples(st.sampled_from(GRAPHS), st.lists(CHANGES, min_size=1, max_size=2))


def _apply(model: onnx.ModelProto, change: str, place: int, value: Any) -> None:
    graph = model.graph
    values = [*graph.input, *graph.output]
    tensor = values[place % len(values)]
    node = graph.node[place % len(graph.node)]
    if change == "type":
        tensor.type.tensor_type.elem_type = value
    elif change == "size" and tensor.type.tensor_type.shape.dim:
        axis, size = value
        dim = tensor.type.tensor_type.shape.dim[axis % len(tensor.type.tensor_type.shape.dim)]
        dim.Clear()
        setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)
    elif change == "name":
        tensor.name = value
    elif change == "operator":
        node.op_type = value
    elif change == "remove":
        del graph.node[place % len(graph.node)]
    elif change == "opset":
        model.opset_import[0].version = value
    elif change == "weights":
        weights = graph.initializer[place % len(graph.initializer)]
        weights.raw_data = weights.raw_data[:value]
    elif change == "inner graph":
        node.op_type = value
        attribute = node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
        attribute.g.node.add(op_type="Identity", input=list(node.input), output=["inner"])


def try_one(case: tuple[str, list[tuple[str, int, Any]]]) -> None:
    """Load the bundle and speak: it works, or is rejected in one line."""
    name, changes = case
    model = onnx.ModelProto()
    model.CopyFrom(MODELS[name])
    for change in changes:
        _apply(model, *change)
    bundle, content = changed_bundle(), model.SerializeToString()
    for kind, _, value in changes:
        content = mutate(content, random.Random(value)) if kind == "bytes" else content
    original = (tiny_bundle() / f"{name}.onnx").read_bytes()
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["graphs"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / MANIFEST_NAME).write_bytes(with_digest(json.dumps(manifest).encode()))
    (bundle / f"{name}.onnx").write_bytes(content)
    try:
        has_inner = any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute)
        if has_inner and content == model.SerializeToString():
            with pytest.raises(BundleError):  # whatever else has changed
                Synthesizer.load(bundle, "onnxruntime", threads=1).backend.open(name)
        else:
            speak(bundle)
    finally:
        (bundle / f"{name}.onnx").write_bytes(original)
