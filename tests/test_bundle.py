"""The bundle: its manifest, its graphs, and wrong exports, which are rejected before they are written."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

from tacoglow import Synthesizer
from tacoglow.export import ExportError, export_onnx
from tacoglow.export import bundle as bundle_module
from tacoglow.export.bundle import Limits
from tacoglow.export.graphs import Graph, build_graphs
from tacoglow.export.parity import TOLERANCES
from tacoglow.models import Tacotron2, WaveGlow, load_tacotron2, load_waveglow
from tacoglow.runtime.bundle import folders
from tacoglow.runtime.bundle.folders import atomic_directory
from tacoglow.runtime.bundle.manifest import DecoderSettings, Manifest, graph_names
from tacoglow.runtime.bundle.reading import (
    MANIFEST_NAME,
    encode_manifest,
    file_sha256,
    graph_path,
    load_manifest,
    with_digest,
)
from tacoglow.runtime.errors import BundleError

if TYPE_CHECKING:
    from .conftest import TinyCheckpoints

TEXT = "Hello world, I missed you."
# The graphs' tensors at the tiny voice's widths: M mel bands, E encoder, A attention, Q and R the two LSTMs, P prenet.
M, E, A, Q, R, P = 16, 16, 8, 24, 20, 8
Tensors = dict[str, list[Any]]
STATES: Tensors = {
    "attention_hidden": ["B", Q],
    "attention_cell": ["B", Q],
    "decoder_hidden": ["B", R],
    "decoder_cell": ["B", R],
    "attention_weights": ["B", "T"],
    "attention_weights_cum": ["B", "T"],
    "attention_context": ["B", E],
}
MEMORY: Tensors = {"memory": ["B", "T", E], "processed_memory": ["B", "T", A], "memory_mask": ["B", "T"]}
TABLE: dict[str, tuple[Tensors, Tensors]] = {
    "encoder": ({"token_ids": ["B", "T"], "token_lengths": ["B"]}, MEMORY),
    "decoder_step": (
        {"decoder_input": ["B", M], "prenet_dropout": ["B", 2, P], **STATES, **MEMORY},
        {"mel_frame": ["B", M], "gate_logit": ["B", 1], **{f"{name}_out": shape for name, shape in STATES.items()}},
    ),
    "postnet": ({"mel": ["B", M, "F"], "mel_lengths": ["B"]}, {"mel_postnet": ["B", M, "F"]}),
    "waveglow": ({"mel": ["B", M, "F"], "z": ["B", 8, "F*32"]}, {"audio": ["B", "F*256"]}),
    "denoiser": ({"audio": ["B", "S"], "strength": [1]}, {"audio_denoised": ["B", "S"]}),
}
INTEGERS = {"token_ids", "token_lengths", "mel_lengths"}
ONNX_TYPES = {"float32": onnx.TensorProto.FLOAT, "int32": onnx.TensorProto.INT32, "bool": onnx.TensorProto.BOOL}


def dtype_of(name: str) -> str:
    return "int32" if name in INTEGERS else "bool" if name == "memory_mask" else "float32"


@pytest.fixture(scope="session")
def models(tiny_checkpoints: TinyCheckpoints) -> tuple[Tacotron2, WaveGlow]:
    return load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)


@pytest.fixture(scope="session", params=["fp32", "fp16", "bf16"])
def bundle(
    request: pytest.FixtureRequest,
    models: tuple[Tacotron2, WaveGlow],
    tiny_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the tiny voice in every precision; export_onnx raises if it exceeds the precision's tolerances."""
    if request.param == "fp32":
        return tiny_bundle
    folder = tmp_path_factory.mktemp("bundle") / "voice"
    export_onnx(*models, folder, precision=request.param)
    return folder


class TestManifest:
    def test_manifest_round_trip(self, tiny_bundle: Path, tmp_path: Path) -> None:
        manifest = load_manifest(tiny_bundle)
        assert encode_manifest(manifest) == (tiny_bundle / "manifest.json").read_bytes()
        (tmp_path / "manifest.json").write_bytes(encode_manifest(manifest))
        assert load_manifest(tmp_path) == manifest

    def test_settings_come_from_the_voice(self, tiny_bundle: Path) -> None:
        """None of these values is a default, see conftest.py."""
        manifest = load_manifest(tiny_bundle)
        assert (manifest.voice.name, manifest.voice.language) == ("tiny", "en-US")
        assert manifest.voice.provenance == {"weights": "random, from a fixed seed"}
        audio = manifest.audio
        assert (audio.sampling_rate, audio.hop_length, audio.filter_length, audio.win_length) == (16000, 256, 512, 512)
        assert (audio.n_mel_channels, audio.mel_fmin, audio.mel_fmax) == (M, 0.0, 7600.0)
        decoder = manifest.decoder
        assert (decoder.gate_threshold, decoder.max_frames, decoder.prenet_dim) == (0.45, 40, P)
        assert decoder.states == {"decoder_input": "mel_frame"} | {name: f"{name}_out" for name in STATES}
        assert (manifest.vocoder.group_size, manifest.vocoder.sigma) == (8, 0.2)
        assert [manifest.range(letter).max for letter in "BTFS"] == [4, 40, 40, 40 * 256]
        assert len(manifest.text.symbols) == 148
        assert manifest.text.cleaners == ("english_cleaners",)

    def test_parity_report_is_complete(self, bundle: Path) -> None:
        manifest = load_manifest(bundle)
        assert manifest.parity is not None
        for name, (_, outputs) in TABLE.items():
            assert list(manifest.parity.graphs[name]) == list(outputs)
        entries = [entry for tensors in manifest.parity.graphs.values() for entry in tensors.values()]
        assert all(entry.max_abs_error <= entry.tolerance for entry in entries)
        assert any(entry.max_abs_error > 0 for entry in entries)  # measured, not assumed
        assert any(entry.tolerance == TOLERANCES[manifest.precision].graph for entry in entries)
        if manifest.precision == "fp32":
            assert list(manifest.parity.pipeline) == ["mel", "audio"]
            assert manifest.parity.stop_frames[0] == manifest.parity.stop_frames[1]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON document; of a list, only its first entry."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def change(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a JSON document with a different value at `path`, or without it if the value is Ellipsis."""
    document = json.loads(json.dumps(document))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


OPTIONAL = {("parity",), ("torchscript",), ("voice", "language"), ("voice", "provenance"), ("decoder", "ending")}
OPTIONAL |= {("text", "lexicon"), ("text", "untrained"), ("int8_decoder",)}
# Mappings with arbitrary keys: a manifest with one entry less may be valid.
FREE = {
    ("voice", "provenance"),
    ("text", "lexicon"),
    ("parity", "graphs"),
    ("parity", "pipeline"),
    ("decoder", "states"),
}


def test_every_field_is_validated(tiny_bundle: Path, tmp_path: Path) -> None:
    """If any value is removed or has a different type, the error names the field or its parent."""
    document = json.loads((tiny_bundle / "manifest.json").read_bytes())
    tried = 0
    for path in places(document):
        free = any(path[: len(place)] == place and len(path) > len(place) for place in FREE)
        for value in (..., None, {"surprise": [1]}):
            allowed = (value is ... and (path in OPTIONAL or free or path[-1] == 0)) or (
                value is None and path in OPTIONAL
            )
            if allowed:
                continue
            (tmp_path / "manifest.json").write_text(json.dumps(change(document, path, value)))
            with pytest.raises(BundleError) as raised:
                load_manifest(tmp_path)
            message = str(raised.value)
            assert "\n" not in message
            assert message.startswith(f"{tmp_path}/manifest.json: ")
            assert any(str(key) in message for key in path), (path, value, message)
            tried += 1
    assert tried > 300


VALUES: list[tuple[tuple[Any, ...], Any]] = [
    (("format_version",), 0),
    (("format_version",), 2),
    (("format_version",), True),
    (("audio", "sampling_rate"), 0),
    (("audio", "hop_length"), -256),
    (("audio", "hop_length"), 255),  # not a multiple of the vocoder's group
    (("decoder", "gate_threshold"), 1.0),
    (("decoder", "max_frames"), 0),
    (("decoder", "states", "decoder_cell"), "mel_frame"),
    (("decoder", "states", "decoder_cell"), "nothing_out"),
    (("vocoder", "group_size"), 0),
    (("vocoder", "sigma"), -0.1),
    (("vocoder", "frames_before"), -1),
    (("precision",), "int4"),
    (("dimensions", "T", "min"), 0),
    (("dimensions", "T", "max"), 3),
    (("graphs", "encoder", "inputs", 0, "dtype"), "int64"),
    (("graphs", "encoder", "inputs", 0, "shape"), ["B", "X"]),
    (("graphs", "encoder", "inputs", 0, "shape"), ["B", "T+1"]),
    (("graphs", "encoder", "file"), "../encoder.onnx"),
    (("graphs", "encoder", "file"), "/tmp/encoder.onnx"),
    (("graphs", "encoder", "file"), "sub/encoder.onnx"),
    (("graphs", "encoder", "file"), ""),
    (("graphs", "encoder", "file"), ".."),
]


@pytest.mark.parametrize(("path", "value"), VALUES, ids=[f"{'.'.join(map(str, p))}={v}" for p, v in VALUES])
def test_invalid_values_are_rejected(tiny_bundle: Path, tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    document = json.loads((tiny_bundle / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(change(document, path, value)))
    with pytest.raises(BundleError) as raised:
        load_manifest(tmp_path)
    assert any(key in str(raised.value) for key in map(str, path[-2:]))


class TestGraphs:
    @pytest.mark.parametrize("name", graph_names("waveglow"))
    def test_manifest_lists_the_tensors_in_order(self, bundle: Path, name: str) -> None:
        graph = load_manifest(bundle).graphs[name]
        for tensors, expected in zip((graph.inputs, graph.outputs), TABLE[name], strict=True):
            assert {tensor.name: list(tensor.shape) for tensor in tensors} == expected
            assert [tensor.name for tensor in tensors] == list(expected)
            assert [tensor.dtype for tensor in tensors] == [dtype_of(tensor.name) for tensor in tensors]

    @pytest.mark.parametrize("name", graph_names("waveglow"))
    def test_files_match_the_manifest(self, bundle: Path, name: str) -> None:
        manifest = load_manifest(bundle)
        graph = manifest.graphs[name]
        model = onnx.load(graph_path(bundle, name, graph))
        for values, tensors in ((model.graph.input, graph.inputs), (model.graph.output, graph.outputs)):
            assert [value.name for value in values] == [tensor.name for tensor in tensors]
            for value, tensor in zip(values, tensors, strict=True):
                assert value.type.tensor_type.elem_type == ONNX_TYPES[tensor.dtype]
                dims = value.type.tensor_type.shape.dim
                assert tuple(dim.dim_param or dim.dim_value for dim in dims) == tensor.shape
        opset = 22 if manifest.precision == "bf16" else 17
        assert manifest.opset == opset
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        onnx.checker.check_model(model, full_check=True)
        if manifest.precision != "bf16":
            assert (
                model.ir_version <= 8
            )  # the version that belongs to opset 17, and the newest that TensorRT 8.6 supports

    @pytest.mark.parametrize("name", graph_names("waveglow"))
    def test_graphs_have_no_nodes_that_prevent_capture(self, bundle: Path, name: str) -> None:
        model = onnx.load(bundle / f"{name}.onnx")
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"Loop", "Scan", "If", "RandomNormal", "RandomUniform", "RandomNormalLike", "Dropout"}
        assert "LSTM" not in kinds or name == "encoder"

    def test_changed_graph_file_is_rejected(self, tiny_bundle: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny_bundle, tmp_path / "voice")
        manifest = load_manifest(folder)
        graph = manifest.graphs["postnet"]
        assert graph_path(folder, "postnet", graph) == folder / "postnet.onnx"
        with (folder / "postnet.onnx").open("ab") as file:
            file.write(b"\0")
        with pytest.raises(BundleError, match=r"postnet\.onnx: SHA-256 is .*export the voice again"):
            graph_path(folder, "postnet", graph)
        with pytest.raises(BundleError, match=r"postnet\.onnx: SHA-256"):
            Synthesizer.load(folder)

    def test_graph_with_different_tensor_names_is_rejected(self, tiny_bundle: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny_bundle, tmp_path / "voice")
        document = json.loads((folder / "manifest.json").read_bytes())
        document["graphs"]["postnet"]["inputs"][1]["name"] = "lengths"
        (folder / "manifest.json").write_bytes(with_digest(json.dumps(document).encode()))
        with pytest.raises(
            BundleError, match=r"tensor 'mel_lengths' is missing.*graphs\.postnet\.inputs`; export the voice"
        ):
            Synthesizer.load(folder)

    def test_every_precision_synthesizes(self, bundle: Path, tiny_bundle: Path) -> None:
        """The first frame is that of float32; later ones feed on it, and drift."""
        audio, exact = (Synthesizer.load(folder, threads=1).say(TEXT, seed=1) for folder in (bundle, tiny_bundle))
        utterance = audio.utterances[0]
        assert len(audio.samples) == utterance.mel.shape[1] * 256
        tolerance = TOLERANCES[load_manifest(bundle).precision].graph
        np.testing.assert_allclose(utterance.mel[:, 0], exact.utterances[0].mel[:, 0], atol=tolerance)

    def test_truncated_bf16_graph_with_a_valid_hash_is_rejected(
        self, models: tuple[Tacotron2, WaveGlow], tmp_path: Path
    ) -> None:
        """A graph's structure is read before onnx rewrites it for the CPU, and before ONNX Runtime."""
        folder = tmp_path / "voice"
        export_onnx(*models, folder, precision="bf16")
        path = folder / "postnet.onnx"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        document = json.loads((folder / "manifest.json").read_bytes())
        document["graphs"]["postnet"]["sha256"] = file_sha256(path)
        (folder / "manifest.json").write_bytes(with_digest(json.dumps(document).encode()))
        with pytest.raises(BundleError, match=r"postnet\.onnx: is damaged.*export the voice again"):
            Synthesizer.load(folder)


def spoil(module: torch.nn.Module, name: str, by: float) -> None:
    """Change one number in a copy of a buffer, because the PyTorch model may share the buffer itself."""
    stem, _, last = name.rpartition(".")
    tensor = module.get_buffer(name).clone()
    tensor[(0,) * tensor.ndim] += by
    setattr(module.get_submodule(stem), last, tensor)


WRONG = {
    "encoder": ("memory_layer.weight", 0.01, "processed_memory"),
    "decoder_step": ("attention_rnn.gates.bias", 0.1, "attention_hidden_out|attention_cell_out|mel_frame"),
    "postnet": ("convolutions.4.bias", 0.001, "mel_postnet"),
    "waveglow": ("inverses.0.weight", 0.01, "audio"),
    "denoiser": ("bias_magnitude", float("nan"), "audio_denoised"),
}


class TestRejectedExports:
    @pytest.mark.full
    @pytest.mark.parametrize("name", WRONG)
    def test_wrong_graph_is_not_written(
        self, models: tuple[Tacotron2, WaveGlow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """With one wrong number in one graph, the parity check names graph and tensor, and no file is left."""
        weight, by, tensor = WRONG[name]

        def build(*arguments: Any) -> list[Graph]:
            graphs = build_graphs(*arguments)
            spoil(next(graph.module for graph in graphs if graph.name == name), weight, by)
            return graphs

        monkeypatch.setattr(bundle_module, "build_graphs", build)
        with pytest.raises(ExportError, match=rf"parity: {name}: ({tensor}) differs from PyTorch by .*tolerance"):
            export_onnx(*models, tmp_path / "voice")
        assert not list(tmp_path.iterdir())

    def test_different_stop_frame_is_not_written(
        self, models: tuple[Tacotron2, WaveGlow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every graph is right, but the manifest has a wrong gate threshold."""

        def settings(**values: Any) -> DecoderSettings:
            return DecoderSettings(**{**values, "gate_threshold": 1e-6})

        monkeypatch.setattr(bundle_module, "DecoderSettings", settings)
        with pytest.raises(
            ExportError, match=r"parity: pipeline: PyTorch stops at frame \d+, the exported graphs at 0"
        ):
            export_onnx(*models, tmp_path / "voice")
        assert not list(tmp_path.iterdir())

    def test_limits_out_of_range_are_rejected(self) -> None:
        for limits in ({"batch": 0}, {"tokens": -1}, {"frames": 0}, {"frames": 10**11}):
            with pytest.raises(ExportError, match=f"max-{next(iter(limits))}: expected 1 to 1048576, got"):
                Limits(**limits)

    def test_unknown_precision_is_rejected(self, models: tuple[Tacotron2, WaveGlow], tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="precision: expected one of fp32, fp16, bf16, got 'int8'"):
            export_onnx(*models, tmp_path / "voice", precision="int8")  # type: ignore[arg-type]


def test_failed_rename_restores_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "voice"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == bundle and self.parent.name.startswith(".voice.new."):  # not the one that restores the old
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(folders, "exchange", lambda *_: False)  # a system that cannot exchange two folders
    with pytest.raises(ExportError, match="voice: cannot be written: Input/output error"):  # noqa: SIM117
        with atomic_directory(bundle, force=True) as folder:
            (folder / "manifest.json").write_text("new")
    assert (bundle / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [bundle]


class TestConcurrentExports:
    def test_many_writers_leave_one_complete_bundle(self, tmp_path: Path) -> None:
        """In whatever order the writers finish, all files of the bundle come from one of them."""
        bundle = tmp_path / "voice"
        writers, rounds, files = 4, 25, ["manifest.json", *(f"{name}.onnx" for name in graph_names("waveglow"))]
        barrier = threading.Barrier(writers)
        failures: list[BaseException] = []
        written: list[str] = []

        def export(writer: int) -> None:
            for i in range(rounds):
                barrier.wait()
                try:
                    with atomic_directory(bundle, force=True) as folder:
                        for name in files:
                            (folder / name).write_text(f"{writer} {i}")
                    written.append(f"{writer} {i}")
                except ExportError as error:
                    failures.append(error)
                except BaseException as error:
                    failures.append(error)
                    barrier.abort()
                    raise

        threads = [threading.Thread(target=export, args=(writer,)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(isinstance(failure, ExportError) for failure in failures), failures
        assert written
        assert list(tmp_path.iterdir()) == [bundle]
        assert sorted(path.name for path in bundle.iterdir()) == sorted(files)
        contents = {(bundle / name).read_text() for name in files}
        assert len(contents) == 1
        assert contents <= set(written)

    @pytest.mark.full
    def test_overlapping_exports_both_succeed(self, models: tuple[Tacotron2, WaveGlow], tmp_path: Path) -> None:
        """A second export starts and ends during the first: both succeed, and the bundle is that of the first."""
        bundle = tmp_path / "voice"
        inner: list[Manifest] = []

        def progress(line: str) -> None:
            if line.startswith("postnet") and not inner:
                assert not bundle.exists()
                inner.append(export_onnx(*models, bundle, limits=Limits(batch=2)))
                assert load_manifest(bundle) == inner[0]

        outer = export_onnx(*models, bundle, limits=Limits(batch=3), progress=progress)
        assert inner[0].range("B").max == 2
        assert load_manifest(bundle) == outer
        Synthesizer.load(bundle)  # checks that every graph belongs to this manifest
        assert list(tmp_path.iterdir()) == [bundle]


def test_symbols_that_no_front_end_accepts_are_named_with_their_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "voice"))
    manifest = json.loads((bundle / MANIFEST_NAME).read_bytes())
    manifest["text"]["symbols"][1] = manifest["text"]["symbols"][0]
    (bundle / MANIFEST_NAME).write_bytes(with_digest(json.dumps(manifest).encode()))
    with pytest.raises(BundleError, match=rf"{MANIFEST_NAME}: symbols\[1\]: .* export the voice again$"):
        Synthesizer.load(bundle)
