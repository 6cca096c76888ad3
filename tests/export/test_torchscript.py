"""TorchScript in a bundle: same results as ONNX at every shape; other models than those of the ONNX are rejected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tacoglow.cli.export_torchscript import export_torchscript as command
from tacoglow.export import ExportError, export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.torchscript import export_torchscript
from tacoglow.export.voice import VoiceFile
from tacoglow.models import Tacotron2, WaveGlow, WaveGlowConfig, load_tacotron2, load_waveglow
from tacoglow.models.config import WNConfig
from tacoglow.runtime.backends import open_backend
from tacoglow.runtime.backends.base import Array, BackendOptions
from tacoglow.runtime.bundle.manifest import TensorSpec
from tacoglow.runtime.bundle.reading import file_sha256, load_manifest, with_digest
from tacoglow.runtime.errors import BackendError, BundleError
from tacoglow.runtime.synthesizer import Synthesizer
from tacoglow.tests.conftest import WAVEGLOW
from tacoglow.tests.tolerances import TORCHSCRIPT

if TYPE_CHECKING:
    from ..conftest import TinyCheckpoints

TEXT = "Hello world, I missed you."


@pytest.fixture(scope="module")
def models(tiny_checkpoints: TinyCheckpoints) -> tuple[Tacotron2, WaveGlow]:
    return load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, models: tuple[Tacotron2, WaveGlow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchscript") / "voice"
    shutil.copytree(tiny_bundle, folder)
    export_torchscript(*models, folder)
    return folder


@contextmanager
def change(parameter: torch.nn.Parameter, difference: float) -> Iterator[None]:
    """Add a number to a parameter inside the block."""
    with torch.no_grad():
        parameter.add_(difference)
        yield
        parameter.sub_(difference)


def test_bundle_keeps_its_onnx_and_gains_a_report(bundle: Path, tiny_bundle: Path) -> None:
    before, after = load_manifest(tiny_bundle), load_manifest(bundle)
    assert before.torchscript is None
    assert after.torchscript is not None
    assert after.graphs == before.graphs
    assert after.torchscript.parity is not None
    assert set(after.torchscript.parity.graphs) == set(after.graphs) == set(after.torchscript.graphs)
    assert set(after.torchscript.parity.pipeline) == {"mel", "audio"}
    expected, got = after.torchscript.parity.stop_frames
    assert expected == got


@pytest.mark.parametrize("dims", [(1, 1, 1), (1, 40, 40), (4, 17, 9), (3, 2, 33)], ids=str)
def test_results_equal_onnx_at_every_shape(bundle: Path, dims: tuple[int, int, int]) -> None:
    manifest = load_manifest(bundle)
    sizes = {**dict(zip("BTF", dims, strict=True)), "S": 512 * (1 + dims[2] // 8)}
    generator = np.random.default_rng(0)
    for name, spec in manifest.graphs.items():
        inputs = {tensor.name: example_input(tensor, sizes, generator) for tensor in spec.inputs}
        results = [
            open_backend(backend, bundle, manifest, BackendOptions(threads=1)).open(name).run(**inputs)
            for backend in ("onnxruntime", "torchscript")
        ]
        for tensor in spec.outputs:
            onnx, torchscript = (result[tensor.name] for result in results)
            np.testing.assert_allclose(torchscript, onnx, atol=TORCHSCRIPT, rtol=TORCHSCRIPT, err_msg=tensor.name)


def example_input(tensor: TensorSpec, sizes: dict[str, int], generator: np.random.Generator) -> Array:
    shape = tensor.resolve(sizes)
    if tensor.dtype == "float32":
        return generator.standard_normal(shape).astype(np.float32) * 0.3
    if tensor.dtype == "bool":
        mask = np.zeros(shape, np.bool_)
        mask[0, 1:] = True  # one item of a single token
        return mask
    if tensor.name == "token_ids":
        return generator.integers(1, 148, shape).astype(np.int32)
    longest = sizes["F" if tensor.name == "mel_lengths" else "T"]
    return np.minimum(longest, 1 + np.arange(shape[0])).astype(np.int32)


@pytest.mark.parametrize("seed", [0, 7])
def test_speech_equals_that_of_onnx(bundle: Path, seed: int) -> None:
    onnx = Synthesizer.load(bundle, "onnxruntime", threads=1).say(TEXT, seed).utterances[0]
    torchscript = Synthesizer.load(bundle, "torchscript", threads=1).say(TEXT, seed).utterances[0]
    assert torchscript.mel.shape == onnx.mel.shape
    assert torchscript.stop_reason == onnx.stop_reason
    np.testing.assert_allclose(torchscript.mel, onnx.mel, atol=TORCHSCRIPT)
    np.testing.assert_allclose(torchscript.samples, onnx.samples, atol=TORCHSCRIPT)


def test_other_weights_are_rejected_and_nothing_changes(
    tiny_bundle: Path, models: tuple[Tacotron2, WaveGlow], tmp_path: Path
) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(tiny_bundle, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        change(models[0].decoder.linear_projection.bias, 0.01),
        pytest.raises(ExportError, match="its decoder_step graph gives a different mel_frame from these checkpoints"),
    ):
        export_torchscript(*models, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_other_dimensions_are_rejected(tiny_bundle: Path, models: tuple[Tacotron2, WaveGlow], tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(tiny_bundle, folder)
    content = json.loads((folder / "manifest.json").read_bytes())
    content["graphs"]["encoder"]["outputs"][0]["shape"][2] += 1
    (folder / "manifest.json").write_bytes(with_digest(json.dumps(content).encode()))
    with pytest.raises(ExportError, match="its encoder graph has different shapes from these checkpoints; give the"):
        export_torchscript(*models, folder)


@pytest.mark.full
def test_command_takes_the_hop_from_the_bundle(
    tiny_checkpoints: TinyCheckpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The WaveGlow file does not state its hop; the voice file did, when the bundle was exported."""
    sizes = {**WAVEGLOW, "WN_config": WNConfig(**WAVEGLOW["WN_config"]), "upsample_stride": 128}
    torch.manual_seed(0)
    torch.save(WaveGlow(WaveGlowConfig(**sizes)).state_dict(), tmp_path / "waveglow.pt")
    models = load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tmp_path / "waveglow.pt", 128)
    export_onnx(*models, tmp_path / "voice", voice=VoiceFile(audio={"hop_length": 128}), limits=Limits(tokens=40))
    command(tmp_path / "voice", tiny_checkpoints.tacotron2, tmp_path / "waveglow.pt")
    output = capsys.readouterr().err
    assert "tacotron2     NVIDIA DeepLearningExamples" in output
    assert "TorchScript added" in output
    assert load_manifest(tmp_path / "voice").torchscript is not None


def test_bundle_without_modules_is_an_error_that_names_the_command(tiny_bundle: Path) -> None:
    with pytest.raises(
        BundleError, match=r"contains no TorchScript modules; add them with: tacoglow export-torchscript"
    ):
        Synthesizer.load(tiny_bundle, "torchscript")


def test_changed_module_is_rejected(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(bundle, folder)
    with (folder / "postnet.ts").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"postnet.ts: SHA-256 is .* the manifest says"):
        Synthesizer.load(folder, "torchscript")


def test_unreadable_module_is_named(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(bundle, folder)
    (folder / "postnet.ts").write_bytes(b"not a module")
    manifest = load_manifest(folder)
    assert manifest.torchscript is not None
    digest = file_sha256(folder / "postnet.ts")
    text = (folder / "manifest.json").read_text().replace(manifest.torchscript.graphs["postnet"].sha256, digest)
    (folder / "manifest.json").write_bytes(with_digest(text.encode()))
    with pytest.raises(BackendError, match=r"postnet.ts: PyTorch .* cannot load it"):
        Synthesizer.load(folder, "torchscript")
