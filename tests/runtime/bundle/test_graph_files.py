"""Graph files: those that refer to other files, whose types differ from the manifest, or that fail while they run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, external_data_helper, helper

from tacoglow import Synthesizer
from tacoglow.runtime.backends.base import GraphRunner
from tacoglow.runtime.backends.cuda.onnxruntime import OnnxRuntimeCudaContext, OnnxRuntimeCudaGraph
from tacoglow.runtime.bundle.graph_file import FIELDS_MAX, find_forbidden
from tacoglow.runtime.bundle.manifest import GraphSpec
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, file_sha256, load_manifest, with_digest
from tacoglow.runtime.errors import BackendError, BundleError, RequestError

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "voice"))


def change_graph(bundle: Path, name: str, change: Change) -> Path:
    """Change a graph and store its new SHA-256 in the manifest, as an attacker would."""
    path = bundle / f"{name}.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    seal(bundle, name)
    return path


def seal(bundle: Path, name: str, change: Callable[[dict[str, Any]], object] = lambda content: None) -> None:
    content = json.loads((bundle / MANIFEST_NAME).read_bytes())
    content["graphs"][name]["sha256"] = file_sha256(bundle / f"{name}.onnx")
    change(content)
    (bundle / MANIFEST_NAME).write_bytes(with_digest(json.dumps(content).encode()))


def refer(tensor: TensorProto, path: str = "weights.bin") -> None:
    tensor.raw_data = tensor.raw_data or bytes(4)
    external_data_helper.set_external_data(tensor, path)
    tensor.ClearField("raw_data")


def largest(model: onnx.ModelProto) -> TensorProto:
    tensor: TensorProto = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    return tensor


def add_constant(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("value", TensorProto.FLOAT, [1], bytes(4), raw=True)
    refer(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))


def add_sparse_weight(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], bytes(4), raw=True)
    refer(values)
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


REFERENCES: dict[str, Change] = {
    "largest weight": lambda model: refer(largest(model)),
    "smallest weight": lambda model: refer(min(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))),
    "constant": add_constant,
    "sparse weight": add_sparse_weight,
}


@pytest.mark.parametrize("change", REFERENCES.values(), ids=REFERENCES)
@pytest.mark.parametrize("name", ["waveglow", "decoder_step"])
def test_graph_with_weights_in_another_file_is_rejected(bundle: Path, name: str, change: Change) -> None:
    path = change_graph(bundle, name, change)
    (bundle / "weights.bin").write_bytes(bytes(1 << 20))
    with pytest.raises(BundleError, match=rf"{path.name}: refers to weights in other files"):
        Synthesizer.load(bundle, threads=1)


def endless_loop() -> onnx.NodeProto:
    """2^62 rounds that compute nothing."""
    types = TensorProto.INT64, TensorProto.BOOL
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in zip(("i", "go"), types, strict=True)]
    outputs = [helper.make_tensor_value_info("on", TensorProto.BOOL, [])]
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", inputs, outputs)
    return helper.make_node("Loop", ["rounds", ""], [], body=body)


def add_loop(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]))
    model.graph.node.insert(0, endless_loop())


def add_branch(model: onnx.ModelProto) -> None:
    """A branch of its own; the loop is in it."""
    outputs = [helper.make_tensor_value_info("rounds", TensorProto.INT64, [])]
    constant = helper.make_node("Constant", [], ["rounds"], value_int=2**62)
    branch = helper.make_graph([constant, endless_loop()], "branch", [], outputs)
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch))


def add_function(model: onnx.ModelProto) -> None:
    """A function that the graph calls; the loop is in it."""
    opset = list(model.opset_import)
    constant = helper.make_node("Constant", [], ["rounds"], value_int=2**62)
    model.functions.append(helper.make_function("own", "Endless", [], ["rounds"], [constant, endless_loop()], opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Endless", [], ["unused"], domain="own"))


@pytest.mark.parametrize("change", [add_loop, add_branch, add_function])
def test_graph_that_need_not_end_is_rejected(bundle: Path, change: Change) -> None:
    change_graph(bundle, "postnet", change)
    with pytest.raises(BundleError, match=r"postnet\.onnx: contains graphs within the graph, such as loops"):
        Synthesizer.load(bundle, threads=1)


def test_graph_that_would_be_read_otherwise_is_rejected(bundle: Path, tiny_bundle: Path) -> None:
    """Among others, a number of a field beyond 32 bits: readers of protobuf disagree on it."""
    own = (tiny_bundle / "postnet.onnx").read_bytes()
    model = onnx.load(tiny_bundle / "postnet.onnx")
    add_loop(model)
    graph = model.graph.SerializeToString()
    size = bytes((len(graph) >> shift & 0x7F) | 0x80 for shift in (0, 7, 14, 21)) + bytes([len(graph) >> 28])
    for content in (
        b"",
        own[:-1],
        own + b"\x7b",  # a group begins
        own + b"\xba\x80\x80\x80\x10" + size + graph,  # field 7 with a bit beyond the 32
        own + b"\x08\x01" * FIELDS_MAX,
    ):
        (bundle / "postnet.onnx").write_bytes(content)
        seal(bundle, "postnet", lambda _: None)
        with pytest.raises(BundleError, match=r"postnet\.onnx: is damaged, or not written as ONNX models are"):
            Synthesizer.load(bundle, threads=1)


def in_own_format(graph: Path, folder: Path) -> bytes:
    """A graph in ONNX Runtime's own format, within which a reader of ONNX finds nothing but unknown fields.

    It begins with the place of its root, which can be chosen, as all others count from there.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "graph.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    own = (folder / "graph.ort").read_bytes()
    root = 0x01008018  # as fields: number 3 is a varint of two bytes, and number 0 has eight bytes
    content = bytearray(root - int.from_bytes(own[:4], "little")) + own
    content[:8] = root.to_bytes(4, "little") + own[4:8]
    size = len(content) - 17
    content[12:17] = bytes([0x7A, *((size >> shift & 0x7F) | 0x80 for shift in (0, 7, 14)), size >> 21])
    return bytes(content)


def test_graph_in_another_format_is_rejected(bundle: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime's own format, which may have loops: it would be taken for its name."""
    (bundle / "postnet.ort").write_bytes(in_own_format(tiny_bundle / "postnet.onnx", tmp_path))
    assert find_forbidden(bundle / "postnet.ort") is None
    onnxruntime.InferenceSession(bundle / "postnet.ort", providers=["CPUExecutionProvider"])
    digest = file_sha256(bundle / "postnet.ort")
    seal(bundle, "postnet", lambda content: content["graphs"]["postnet"].update(file="postnet.ort", sha256=digest))
    with pytest.raises(BackendError, match=r"postnet\.ort: ONNX Runtime cannot load it"):
        Synthesizer.load(bundle, "onnxruntime", threads=1)


def test_own_graphs_are_plain(tiny_bundle: Path, tmp_path: Path) -> None:
    for path in tiny_bundle.glob("*.onnx"):
        assert find_forbidden(path) is None
        model = onnx.load(path)
        for tensor in model.graph.initializer:  # stated, although it is the default
            tensor.data_location = TensorProto.DEFAULT
        (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())
        assert find_forbidden(tmp_path / "graph.onnx") is None


def test_input_of_a_different_type_is_rejected(bundle: Path) -> None:
    """In the graph, mel_lengths is an int64 of the same shape, cast to the int32 that the manifest states."""

    def change(model: onnx.ModelProto) -> None:
        value = next(value for value in model.graph.input if value.name == "mel_lengths")
        value.type.tensor_type.elem_type = TensorProto.INT64
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                if name == "mel_lengths":
                    node.input[i] = "narrowed"
        model.graph.node.insert(0, helper.make_node("Cast", ["mel_lengths"], ["narrowed"], to=TensorProto.INT32))

    change_graph(bundle, "postnet", change)
    with pytest.raises(BundleError, match=r"postnet: input mel_lengths is tensor\(int32\) .*, tensor\(int64\) "):
        Synthesizer.load(bundle, threads=1)


def test_different_fixed_dimension_is_rejected(bundle: Path) -> None:
    seal(bundle, "encoder", lambda content: content["graphs"]["encoder"]["outputs"][0]["shape"].__setitem__(2, 17))
    with pytest.raises(BundleError, match=r"encoder: output memory is .* 17.* in the manifest, .* 16.* in the graph"):
        Synthesizer.load(bundle, threads=1)


def test_error_while_running_is_one_line(bundle: Path) -> None:
    """The graph reshapes its input to a size that never fits, which is noticed only when it runs."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("never", TensorProto.INT64, [1], [7919]))
        model.graph.node.insert(0, helper.make_node("Reshape", ["mel", "never"], ["reshaped"]))
        model.graph.node.insert(1, helper.make_node("ReduceSum", ["reshaped"], ["sum"], keepdims=0))
        model.graph.node[-1].output[0] = "unscaled"
        model.graph.node.append(helper.make_node("Mul", ["unscaled", "sum"], ["mel_postnet"]))

    change_graph(bundle, "postnet", change)
    voice = Synthesizer.load(bundle, threads=1)
    with pytest.raises(BackendError, match="postnet: ONNX Runtime failed: ") as caught:
        voice.say("Hello.")
    assert "\n" not in str(caught.value)


def buffers(runner: GraphRunner) -> dict[str, np.ndarray[Any, Any]]:
    dims = {"B": 1, "F": 3}
    return {name: np.zeros(spec.resolve(dims), spec.dtype) for name, spec in runner.spec.tensors.items()}


def test_read_only_output_is_rejected(tiny_bundle: Path, tmp_path: Path) -> None:
    """Writing into the mapped file would crash the process."""
    runner = Synthesizer.load(tiny_bundle, threads=1).backend.open("postnet")
    bound = buffers(runner)
    (tmp_path / "file").write_bytes(bytes(bound["mel_postnet"].nbytes))
    bound["mel_postnet"] = np.memmap(tmp_path / "file", np.float32, "r", shape=bound["mel_postnet"].shape)
    with pytest.raises(RequestError, match="postnet: mel_postnet: the buffer is read-only"):
        runner.bind(bound)
    bound["mel_postnet"] = np.zeros_like(bound["mel_postnet"])
    bound["mel"].flags.writeable = False  # inputs are only read
    bound["mel_lengths"][:] = 3
    runner.bind(bound)()


def test_unaligned_buffer_is_rejected(tiny_bundle: Path) -> None:
    runner = Synthesizer.load(tiny_bundle, threads=1).backend.open("postnet")
    bound = buffers(runner)
    memory = bytearray(bound["mel"].nbytes + 1)
    bound["mel"] = np.frombuffer(memory, np.float32, offset=1).reshape(bound["mel"].shape)
    with pytest.raises(RequestError, match="postnet: mel: expected a contiguous float32"):
        runner.bind(bound)


def test_cuda_provider_compares_tensors_with_the_manifest(bundle: Path) -> None:
    """Its sessions cannot be opened without a GPU; one of the CPU has the same description."""
    manifest = load_manifest(bundle)
    session = onnxruntime.InferenceSession(str(bundle / "postnet.onnx"), providers=["CPUExecutionProvider"])
    stream: Any = None
    OnnxRuntimeCudaGraph("postnet", manifest.graphs["postnet"], manifest, stream, session, 0)
    with pytest.raises(BundleError, match=r"encoder: input .* is .* in the manifest, .* in the graph"):
        OnnxRuntimeCudaGraph("encoder", manifest.graphs["encoder"], manifest, stream, session, 0)


def test_cuda_provider_explains_failures_while_running() -> None:
    class Failing:
        bind_input = bind_output = None  # the graph has no tensors

        def io_binding(self) -> Failing:
            return self

        def run_with_iobinding(self, *_: object) -> None:
            raise RuntimeError("CUDA failure 700: an illegal memory access\nfile: x.cc")

    spec = GraphSpec(file="x", sha256="", inputs=(), outputs=())
    enqueue = OnnxRuntimeCudaContext("postnet", spec, Failing(), 0).bind({})
    with pytest.raises(BackendError, match="postnet: ONNX Runtime failed: CUDA failure 700: an illegal memory access;"):
        enqueue()
