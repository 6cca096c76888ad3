"""The repositories that export-triton writes, parsed with Triton's own message types."""

from __future__ import annotations

import shutil
import struct
import sys
from dataclasses import fields
from pathlib import Path
from subprocess import run
from typing import Any

import msgspec
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.reading import encode_manifest, list_bundle_files, load_manifest
from tacoglow.runtime.errors import BundleError, ExportError
from tacoglow.runtime.options import SpeechOptions
from tacoglow.triton_server.configs import ServingOptions, graph_config
from tacoglow.triton_server.pbtxt import to_pbtxt
from tacoglow.triton_server.repository import export_triton

text_format = pytest.importorskip("google.protobuf.text_format")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")

MODELS = {"tacoglow", "tacoglow_stream", "tacoglow_encoder", "tacoglow_postnet", "tacoglow_waveglow"}


def parse(text: str) -> Any:
    """Parse a ModelConfig; unknown fields and enum values are errors."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def config_of(repository: Path, model: str) -> Any:
    return parse((repository / model / "config.pbtxt").read_text())


def test_model_names(repository: Path) -> None:
    assert {path.name for path in repository.iterdir()} == MODELS
    for model in MODELS:
        assert config_of(repository, model).name == model


def test_leftovers_of_a_killed_export_are_removed(tiny_bundle: Path, tmp_path: Path) -> None:
    left = tmp_path / ".export.new.abcd_123"
    (left / "bundle" / "voice").mkdir(parents=True)
    (left / "lock").touch()
    models = export_triton(tiny_bundle, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(models)


def test_text_models(repository: Path, tiny_bundle: Path) -> None:
    whole, stream = config_of(repository, "tacoglow"), config_of(repository, "tacoglow_stream")
    assert whole.max_batch_size == load_manifest(tiny_bundle).range("B").max == 4
    assert not whole.model_transaction_policy.decoupled
    assert stream.model_transaction_policy.decoupled
    for config in (whole, stream):
        assert config.backend == "python"
        required = [tensor.name for tensor in config.input if not tensor.optional]
        assert required == ["text"]
        options = {field.name for field in fields(SpeechOptions)} - {"cancelled", "deadline"}
        assert {tensor.name for tensor in config.input} == {"text", "seed", "encoding"} | options
        assert [list(tensor.dims) for tensor in config.output if tensor.name == "audio"] == [[-1]]
        assert config.parameters["max_characters"].string_value == "20000"


def test_warmup_request_can_be_synthesized(repository: Path, voice: Synthesizer) -> None:
    for model in ("tacoglow", "tacoglow_stream"):
        (warmup,) = config_of(repository, model).model_warmup
        folder = repository / model / "warmup"
        content = {name: (folder / tensor.input_data_file).read_bytes() for name, tensor in warmup.inputs.items()}
        (length,) = struct.unpack("<I", content["text"][:4])
        text = content["text"][4:].decode()
        assert len(text) == length
        assert voice.front_end.count_tokens(text) > 10
        assert struct.unpack("<i", content["max_frames"]) == (40,)  # the tiny voice's frame limit


@pytest.mark.parametrize(
    ("first", "letter", "warmup"),  # of the symbols in place of the Latin letters
    [
        ("а", "а", "абвгдежзийклмнопрсту 2"),
        ("←", "{AA}", "{AA AA0 AA1 AA2 AE AE0 AE1 AE2 AH AH0 AH1 AH2 AO AO0 AO1 AO2 AW AW0 AW1 AW2} 2"),  # arrows
    ],
)
def test_voices_without_latin_letters_warm_up_too(
    tiny_bundle: Path, tmp_path: Path, first: str, letter: str, warmup: str
) -> None:
    manifest = load_manifest(tiny_bundle)
    own = map(chr, range(ord(first), 0x10FFFF))
    symbols = tuple(next(own) if symbol.isalpha() else symbol for symbol in manifest.text.symbols)
    text = msgspec.structs.replace(manifest.text, symbols=symbols, cleaners=("basic_cleaners",))
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "manifest.json").write_bytes(encode_manifest(msgspec.structs.replace(manifest, text=text)))
    export_triton(bundle, tmp_path)
    for model in ("tacoglow", "tacoglow_stream"):
        config = config_of(tmp_path, model)
        assert config.parameters["letter"].string_value == letter
        assert [each.name for each in config.model_warmup] == ["speech"]
        assert (tmp_path / model / "warmup" / "text").read_bytes()[4:].decode() == warmup


@pytest.mark.parametrize(
    ("graph", "inputs", "outputs"),
    [
        (
            "encoder",
            {"token_ids": ("TYPE_INT32", [-1]), "token_lengths": ("TYPE_INT32", [1])},
            {
                "memory": ("TYPE_FP32", [-1, 16]),
                "processed_memory": ("TYPE_FP32", [-1, 8]),
                "memory_mask": ("TYPE_BOOL", [-1]),
            },
        ),
        (
            "postnet",
            {"mel": ("TYPE_FP32", [16, -1]), "mel_lengths": ("TYPE_INT32", [1])},
            {"mel_postnet": ("TYPE_FP32", [16, -1])},
        ),
        (
            "waveglow",
            {"mel": ("TYPE_FP32", [16, -1]), "z": ("TYPE_FP32", [8, -1])},
            {"audio": ("TYPE_FP32", [-1])},
        ),
    ],
)
@pytest.mark.parametrize(("backend", "platform"), [("onnxruntime", "onnxruntime_onnx"), ("tensorrt", "tensorrt_plan")])
def test_graphs_as_models(
    tiny_bundle: Path, graph: str, inputs: dict[str, Any], outputs: dict[str, Any], backend: Any, platform: str
) -> None:
    manifest = load_manifest(tiny_bundle)
    options = ServingOptions(backend)
    config = parse(to_pbtxt(graph_config("one", manifest.graphs[graph], 3, options)))
    assert (config.platform, config.max_batch_size) == (platform, 3)
    name_of = model_config_pb2.DataType.Name
    assert {tensor.name: (name_of(tensor.data_type), list(tensor.dims)) for tensor in config.input} == inputs
    assert {tensor.name: (name_of(tensor.data_type), list(tensor.dims)) for tensor in config.output} == outputs
    # Lengths are [B]: without the batch they are scalars, which Triton describes as a reshape to no dimensions.
    assert [tensor.name for tensor in config.input if tensor.HasField("reshape")] == [
        name for name in inputs if name.endswith("_lengths")
    ]


def test_graph_models_are_the_bundle_graphs(repository: Path, tiny_bundle: Path) -> None:
    for graph in ("encoder", "postnet", "waveglow"):
        model = repository / f"tacoglow_{graph}" / "1" / "model.onnx"
        assert model.read_bytes() == (tiny_bundle / f"{graph}.onnx").read_bytes()


def test_weights_are_stored_once(repository: Path) -> None:
    files = list(repository.rglob("*waveglow.onnx")) + list(repository.glob("tacoglow_waveglow/1/model.onnx"))
    assert len(files) == 3
    assert len({file.stat().st_ino for file in files}) == 1


def test_limits_and_instances(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ServingOptions(
        instances=3,
        threads=2,
        max_batch=2,
        queue_delay_us=1500,
        max_queue=7,
        streams=5,
        max_characters=11,
        max_retries=1,
        compute="auto",
        profile="throughput",
    )
    export_triton(tiny_bundle, tmp_path, "anna", options=options)
    whole, stream = config_of(tmp_path, "anna"), config_of(tmp_path, "anna_stream")
    assert whole.max_batch_size == 2
    assert whole.dynamic_batching.max_queue_delay_microseconds == 1500
    for config in (whole, stream):
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 7
        (group,) = config.instance_group
        assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
        given = {name: value.string_value for name, value in config.parameters.items()}
        assert given == {
            "backend": "onnxruntime",
            "compute": "auto",
            "decoder": "engine",
            "profile": "throughput",
            "threads": "2",
            "streams": "5",
            "max_characters": "11",
            "max_retries": "1",
            "max_frames": "0",
            "max_seconds": "300.0",
            "voice": "tiny",
            "language": "en-US",
            "sampling_rate": "16000",
            "letter": "A",
        }


def test_the_fused_decoder_needs_tensorrt() -> None:
    assert ServingOptions("tensorrt", decoder="fused").decoder == "fused"
    with pytest.raises(ExportError, match="decoder 'fused': needs --backend tensorrt, got onnxruntime"):
        ServingOptions(decoder="fused")


def test_openvino_runs_the_text_models_on_the_cpu(tiny_bundle: Path, tmp_path: Path) -> None:
    export_triton(tiny_bundle, tmp_path, options=ServingOptions("openvino"))
    config = config_of(tmp_path, "tacoglow")
    (group,) = config.instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert config.parameters["backend"].string_value == "openvino"
    assert config_of(tmp_path, "tacoglow_encoder").platform == "onnxruntime_onnx"


def test_eight_bits_that_cannot_run_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="needs --backend onnxruntime or openvino, got tensorrt"):
        ServingOptions("tensorrt", compute="int8")
    with pytest.raises(ExportError, match="has no 8-bit decoder; add one with: tacoglow quantize"):
        export_triton(tiny_bundle, tmp_path / "models", options=ServingOptions(compute="int8"))
    assert not (tmp_path / "models").exists()


def test_gpus(tiny_bundle: Path) -> None:
    manifest = load_manifest(tiny_bundle)
    options = ServingOptions("tensorrt", gpus=(0, 2))
    config = parse(to_pbtxt(graph_config("one", manifest.graphs["postnet"], 1, options)))
    (group,) = config.instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert list(group.gpus) == [0, 2]


def test_second_version_joins_the_first(repository: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(repository, folder)
    export_triton(tiny_bundle, folder, version=2, options=ServingOptions(max_queue=9))
    for model in MODELS:
        assert {path.name for path in (folder / model).iterdir() if path.name.isdigit()} == {"1", "2"}
        config = config_of(folder, model)
        assert config.HasField("version_policy")
        assert config.version_policy.HasField("all")
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 9
    assert not list(folder.glob(".*"))


def test_existing_version_is_not_replaced(repository: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(repository, folder)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(ExportError, match="already exists; use the next --model-version"):
        export_triton(tiny_bundle, folder)
    other = tmp_path / "other"
    shutil.copytree(tiny_bundle, other)
    manifest = load_manifest(other)
    text = msgspec.structs.replace(manifest.text, symbols=(*manifest.text.symbols, "ß"))
    changed = msgspec.structs.replace(manifest, text=text)
    (other / "manifest.json").write_bytes(encode_manifest(changed))
    with pytest.raises(ExportError, match="has different symbols or shapes"):
        export_triton(other, folder, version=2)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_damaged_bundle_creates_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle, folder = tmp_path / "voice", tmp_path / "models"
    shutil.copytree(tiny_bundle, bundle)
    with (bundle / "decoder_step.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="decoder_step"):
        export_triton(bundle, folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-batch", "5"], "max batch: expected 1 to 4 (this bundle's limit), got 5"),
        (["--name", "../x"], "name '../x': expected letters, digits, _ . or -"),
        (["--gpu", "1"], "gpus: need --backend tensorrt"),
        (["--streams", "0"], "streams"),
    ],
)
def test_command_rejects_invalid_options_in_one_line(
    tiny_bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code = "import sys; from tacoglow.cli import main; sys.argv[0] = 'tacoglow'; main()"
    command = [sys.executable, "-c", code, "export-triton", str(tiny_bundle), "-o", str(tmp_path / "m"), *arguments]
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not (tmp_path / "m").exists()


def test_model_of_another_program_is_not_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    for model in ("anna", "anna_encoder"):
        repository = tmp_path / model
        (repository / model / "1").mkdir(parents=True)
        (repository / model / "config.pbtxt").write_text("theirs")
        with pytest.raises(ExportError, match=rf"{model}: exists but was not written by export-triton; .*--force"):
            export_triton(tiny_bundle, repository, "anna", version=2)
        assert [path.name for path in repository.iterdir()] == [model]
        export_triton(tiny_bundle, repository, "anna", version=2, force=True)
        assert (repository / model / "config.pbtxt").read_text() != "theirs"
        assert (repository / model / "1").is_dir()


def test_only_the_files_of_the_bundle_are_served(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "voice"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "notes.txt").write_text("mine")
    export_triton(bundle, tmp_path / "models")
    served = {path.name for path in (tmp_path / "models" / "tacoglow" / "1" / "voice").iterdir()}
    assert served == list_bundle_files(load_manifest(tiny_bundle))
