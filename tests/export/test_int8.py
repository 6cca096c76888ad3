"""The decoder with 8-bit weights: how they are rounded, that no item depends on its batch, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tacoglow import Synthesizer
from tacoglow.export import ExportError, export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.int8 import BLOCK, FILE, MICROSOFT, quantize, quantize_decoder, quantize_lstm_cells
from tacoglow.export.voice import read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.runtime.backends.base import Compute
from tacoglow.runtime.bundle.reading import list_bundle_files, load_manifest
from tacoglow.runtime.errors import BackendError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests.conftest import MAX_TOKENS, TinyCheckpoints

TEXT = "Hello world, I missed you."


@pytest.mark.parametrize(("outputs", "inputs"), [(8, 64), (5, 33), (3, 1)])
def test_weights_are_rounded_to_half_a_scale(outputs: int, inputs: int) -> None:
    weight = np.random.default_rng(0).standard_normal((outputs, inputs)).astype(np.float32)
    weight[0] = 0.0
    codes, scales = quantize(weight, BLOCK)
    restored = (codes.astype(np.float64) - 128.0) * scales.astype(np.float64)[:, :, None]
    assert np.all(restored[0] == 0.0)
    flat = restored.reshape(outputs, -1)
    half = np.repeat(scales.astype(np.float64), BLOCK, 1)[:, :inputs] / 2.0
    assert np.all(np.abs(flat[:, :inputs] - weight) <= half * (1.0 + 1e-5))
    assert np.all(flat[:, inputs:] == 0.0)  # the padding of the last block


def product(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> onnxruntime.InferenceSession:
    """x [B, K] -> x @ weight.T + bias, with the weight in 8 bits as the exporter writes an LSTM cell's."""
    outputs, inputs = weight.shape
    node = helper.make_node("Gemm", ["x", "attention_rnn.gates.weight", "bias"], ["y"], transB=1)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", outputs])],
        [numpy_helper.from_array(weight, "attention_rnn.gates.weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    quantize_lstm_cells(model)
    assert [node.op_type for node in model.graph.node] == ["MatMulNBits"]
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_products_of_nvidias_size_do_not_depend_on_the_batch() -> None:
    """With blocks of 128, ONNX Runtime sums a row of a larger batch in another order."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((4096, 1792)).astype(np.float32) * np.float32(0.03)
    bias, x = random.standard_normal(4096).astype(np.float32), random.standard_normal((8, 1792)).astype(np.float32)
    session = product(weight, bias)
    alone = np.concatenate([session.run(None, {"x": row[None]})[0] for row in x])
    for batch in range(2, len(x) + 1):
        np.testing.assert_array_equal(session.run(None, {"x": x[:batch]})[0], alone[:batch])
    exact = x.astype(np.float64) @ weight.astype(np.float64).T + bias
    # Each factor errs by up to 1/254 of the largest in its block, which is about three standard deviations, evenly
    # spread: 3/254/sqrt(3) of a standard deviation in each of two factors, over the root of 1,792 products.
    deviation = np.sqrt(2 * 1792) * 0.03 * 3.0 / 254.0 / np.sqrt(3.0)
    assert np.abs(alone - exact).std() < deviation


def test_bundle_gains_the_graph_and_its_report(int8_bundle: Path, tiny_bundle: Path) -> None:
    before, after = load_manifest(tiny_bundle), load_manifest(int8_bundle)
    assert after.graphs == before.graphs
    assert after.int8_decoder is not None
    assert set(after.int8_decoder.parity) == {tensor.name for tensor in after.graphs["decoder_step"].outputs}
    assert all(0.0 <= entry.max_abs_error <= entry.tolerance for entry in after.int8_decoder.parity.values())
    assert list_bundle_files(after) - list_bundle_files(before) == {FILE}
    domains = {entry.domain for entry in onnx.load(int8_bundle / FILE).opset_import}
    assert MICROSOFT in domains


def test_it_speaks_the_same_alone_and_in_a_batch(int8_bundle: Path) -> None:
    voice = Synthesizer.load(int8_bundle, "onnxruntime", threads=1, compute="int8")
    texts = [TEXT, "Speak.", "And a third one, a little longer."]
    ids = [voice.front_end.encode(text) for text in texts]
    options = SpeechOptions().resolve(voice.manifest)
    noises = [Noise(i) for i in range(len(ids))]
    together = voice.acoustic.decode(ids, voice.acoustic.encode(ids), noises, options)
    for own, noise, item in zip(ids, noises, together, strict=True):
        (alone,) = voice.acoustic.decode([own], voice.acoustic.encode([own]), [noise], options)
        np.testing.assert_array_equal(item.mel, alone.mel)


def test_weights_are_really_rounded(int8_bundle: Path) -> None:
    exact, rounded = (
        Synthesizer.load(int8_bundle, "onnxruntime", threads=1, compute=c).say(TEXT) for c in ("fp32", "int8")
    )
    mels = [audio.utterances[0].mel for audio in (exact, rounded)]
    frames = min(mel.shape[1] for mel in mels)
    assert not np.array_equal(mels[0][:, :frames], mels[1][:, :frames])


def test_auto_takes_what_the_bundle_has(int8_bundle: Path, tiny_bundle: Path) -> None:
    def mel(folder: Path, compute: Compute) -> NDArray[np.float32]:
        return Synthesizer.load(folder, "onnxruntime", threads=1, compute=compute).say(TEXT).utterances[0].mel

    np.testing.assert_array_equal(mel(int8_bundle, "auto"), mel(int8_bundle, "int8"))
    np.testing.assert_array_equal(mel(tiny_bundle, "auto"), mel(int8_bundle, "fp32"))


def test_refusals(tiny_bundle: Path, hifigan_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"has no 8-bit decoder; add one with: tacoglow quantize "):
        Synthesizer.load(tiny_bundle, "onnxruntime", compute="int8")
    with pytest.raises(BackendError, match=r"compute 'int8': needs backend onnxruntime or openvino, got torchscript"):
        Synthesizer.load(hifigan_bundle, "torchscript", compute="int8")


def test_half_precision_bundles_are_refused(tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
    models = load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)
    export_onnx(*models, tmp_path / "voice", precision="fp16", voice=read_voice_file(tiny_checkpoints.voice))
    before = sorted(path.name for path in (tmp_path / "voice").iterdir())
    with pytest.raises(ExportError, match="expected a bundle of precision fp32, got fp16"):
        quantize_decoder(tmp_path / "voice")
    assert sorted(path.name for path in (tmp_path / "voice").iterdir()) == before


def test_export_writes_the_same_decoder(int8_bundle: Path, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
    models = load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)
    limits, voice = Limits(batch=4, tokens=MAX_TOKENS), read_voice_file(tiny_checkpoints.voice)
    manifest = export_onnx(*models, tmp_path / "voice", voice=voice, limits=limits, decoder_weights="int8")
    assert manifest.int8_decoder == load_manifest(int8_bundle).int8_decoder
