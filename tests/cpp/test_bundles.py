"""The C++ runtime opens the decoder that was asked for, and only graphs that are what the manifest says."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from scipy.io import wavfile

from tacoglow import Synthesizer
from tacoglow.export.int8 import FILE
from tacoglow.runtime.backends.base import Compute
from tacoglow.runtime.bundle.graph_file import find_forbidden
from tacoglow.runtime.bundle.reading import file_sha256
from tacoglow.tests.runtime.bundle.test_graph_files import (
    REFERENCES,
    Change,
    add_branch,
    add_function,
    add_loop,
    change_graph,
    in_own_format,
)

from .test_core import check
from .test_speak import TEXT, edit_manifest, require_rejected, speak, update_digest

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "voice"))


@pytest.mark.parametrize(
    ("compute", "decoder"),
    [("fp32", ""), ("int8", "decoder: int8: the bundle's 8-bit weights\n"), ("auto", "decoder: int8: the bundle's")],
)
def test_8_bit_decoder_equals_python(
    programs: Path, int8_bundle: Path, tmp_path: Path, compute: Compute, decoder: str
) -> None:
    expected = Synthesizer.load(int8_bundle, "onnxruntime", threads=1, compute=compute).say(TEXT, seed=3)
    done = speak(programs, int8_bundle, tmp_path, "--text", TEXT, "--seed", 3, "--compute", compute)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(decoder)
    assert ("decoder" in done.stderr) == bool(decoder)
    np.testing.assert_array_equal(wavfile.read(tmp_path / "out.wav")[1], expected.samples)


def test_8_bit_decoder_is_not_the_float32_one(programs: Path, int8_bundle: Path, tmp_path: Path) -> None:
    mels = []
    for compute in ("fp32", "int8"):
        flags = ("--ids", "12 13 14", "--compute", compute, "--mel", tmp_path / compute)
        assert speak(programs, int8_bundle, tmp_path, *flags).returncode == 0
        mels.append(np.fromfile(tmp_path / compute, np.float32)[:10])
    float32, int8 = mels
    assert not np.array_equal(float32, int8)


def test_auto_without_8_bit_weights_is_float32(programs: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    expected = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1).say(TEXT, seed=3)
    done = speak(programs, tiny_bundle, tmp_path, "--text", TEXT, "--seed", 3, "--compute", "auto")
    assert "decoder: fp32: the bundle has no 8-bit weights" in done.stderr
    np.testing.assert_array_equal(wavfile.read(tmp_path / "out.wav")[1], expected.samples)


def test_compute_that_is_not_there_is_refused(
    programs: Path, tiny_bundle: Path, int8_bundle: Path, tmp_path: Path
) -> None:
    for folder, flags, message in (
        (tiny_bundle, ("--compute", "int8"), "has no 8-bit decoder; add one with: tacoglow quantize "),
        (tiny_bundle, ("--compute", "int4"), "compute: expected auto, fp32 or int8, got 'int4'"),
        (
            int8_bundle,
            ("--compute", "int8", "--backend", "onnxruntime-cuda"),
            "compute 'int8': needs backend onnxruntime, got onnxruntime-cuda",
        ),
    ):
        require_rejected(speak(programs, folder, tmp_path, "--ids", "12", *flags), message, tmp_path)


def test_changed_8_bit_decoder_is_refused(programs: Path, int8_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(int8_bundle, tmp_path / "voice"))
    (bundle / FILE).write_bytes((bundle / FILE).read_bytes()[:-1])
    done = speak(programs, bundle, tmp_path, "--ids", "12", "--compute", "int8")
    require_rejected(done, f"{FILE}: SHA-256: expected", tmp_path)
    assert speak(programs, bundle, tmp_path, "--ids", "12").returncode == 0


def move_weights_out(graph: Path) -> None:
    model = onnx.load(graph)
    onnx.save(model, graph, save_as_external_data=True, location="w.bin", size_threshold=0)


@pytest.mark.parametrize("graph", ["encoder", "denoiser"])
def test_weights_in_other_files_are_refused(programs: Path, bundle: Path, tmp_path: Path, graph: str) -> None:
    move_weights_out(bundle / f"{graph}.onnx")
    update_digest(bundle, graph)
    done = speak(programs, bundle, tmp_path, "--ids", "12")
    require_rejected(done, f"{graph}.onnx: refers to weights in other files, which are not part of a bundle", tmp_path)


def test_8_bit_weights_in_other_files_are_refused(programs: Path, int8_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(int8_bundle, tmp_path / "voice"))
    move_weights_out(bundle / FILE)
    digest = file_sha256(bundle / FILE)
    edit_manifest(bundle, lambda content: content["int8_decoder"].update(sha256=digest))
    done = speak(programs, bundle, tmp_path, "--ids", "12", "--compute", "auto")
    require_rejected(done, f"{FILE}: refers to weights in other files", tmp_path)


@pytest.mark.parametrize("change", [add_loop, add_branch, add_function])
def test_graphs_that_need_not_end_are_refused(programs: Path, bundle: Path, tmp_path: Path, change: Change) -> None:
    change_graph(bundle, "postnet", change)
    done = speak(programs, bundle, tmp_path, "--ids", "12")
    require_rejected(
        done, "postnet.onnx: contains graphs within the graph, such as loops, which no voice has", tmp_path
    )


def test_graph_in_another_format_is_refused(programs: Path, bundle: Path, tmp_path: Path) -> None:
    graph = bundle / "postnet.onnx"
    graph.write_bytes(in_own_format(graph, tmp_path))
    update_digest(bundle, "postnet")
    require_rejected(speak(programs, bundle, tmp_path, "--ids", "12"), "postnet.onnx: ", tmp_path)


@pytest.mark.parametrize("change", REFERENCES.values(), ids=REFERENCES)
def test_references_of_every_kind_are_refused(programs: Path, bundle: Path, tmp_path: Path, change: Change) -> None:
    change_graph(bundle, "postnet", change)
    require_rejected(speak(programs, bundle, tmp_path, "--ids", "12"), "refers to weights in other files", tmp_path)


def test_files_are_read_as_in_python(programs: Path, int8_bundle: Path, tmp_path: Path) -> None:
    """The voice's own graphs, and what becomes of them when bytes of their structure change."""
    draw = random.Random(9)
    paths = sorted(int8_bundle.glob("*.onnx"))
    graph = onnx.load(int8_bundle / "postnet.onnx")
    for change in (None, add_loop, *REFERENCES.values()):
        model = onnx.ModelProto.FromString(graph.SerializeToString())
        if change is not None:
            change(model)
        content = model.SerializeToString()
        for i in range(60):
            changed = bytearray(content[: draw.randrange(len(content))] if i % 3 == 0 else content)
            for _ in range(i % 5):
                place = draw.randrange(min(len(changed), 400)) if changed else 0
                changed[place : place + 1] = bytes(
                    [draw.choice((0, 1, 0x0A, 0x6A, 0x7F, 0x80, 0xFF, draw.randrange(256)))]
                )
            paths.append(tmp_path / f"{len(paths)}.onnx")
            paths[-1].write_bytes(changed)
    expected = [find_forbidden(path) or "ok" for path in paths]
    assert check(programs, "graph_file", *paths).decode().splitlines() == expected
    assert len(set(expected)) == 4  # plain, damaged, in other files, graphs within


def test_graph_with_another_type_is_refused_when_it_is_opened(programs: Path, bundle: Path, tmp_path: Path) -> None:
    path = bundle / "postnet.onnx"
    model = onnx.load(path)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [f"{name}_exact" if name == output.name else name for name in node.output]
    cast = onnx.helper.make_node("Cast", [f"{output.name}_exact"], [output.name], to=TensorProto.INT32)
    model.graph.node.append(cast)
    output.type.tensor_type.elem_type = TensorProto.INT32
    onnx.save(model, path)
    update_digest(bundle, "postnet")
    done = speak(programs, bundle, tmp_path, "--text", "☃")  # which would be refused later
    message = "postnet: output mel_postnet is float32 [B, 16, F] in the manifest, int32 [B, 16, F] in the graph"
    require_rejected(done, message, tmp_path)


@pytest.mark.parametrize("setting", [None, "1"])
def test_nothing_is_reported_about_its_use(
    programs: Path, tiny_bundle: Path, tmp_path: Path, setting: str | None
) -> None:
    """ONNX Runtime would keep a device id and a database in the user's cache."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(tmp_path / "home")} | ({} if setting is None else {"ORT_DISABLE_TELEMETRY": setting})
    (tmp_path / "home").mkdir()
    assert speak(programs, tiny_bundle, tmp_path, "--ids", "12", environment=environment).returncode == 0
    assert list((tmp_path / "home").iterdir()) == []
