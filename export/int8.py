"""Writes the decoder step with 8-bit LSTM weights, for CPUs, beside the float32 graph.

A decoder step reads all its weights once, so on a CPU it takes as long as that reading: a quarter of the bytes is up to
four times the speed. The products of the LSTM cells become ONNX Runtime's MatMulNBits: symmetric 8-bit weights in
blocks along the inner dimension, one float32 scale per block, products of 8-bit numbers (accuracy_level 4, which
rounds each block of the activations to 8 bits as well). The prenet, the attention and the projection stay float32: they
are a fiftieth of the weights, and the gate and the mel come straight from them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..runtime.bundle.folders import extended_bundle
from ..runtime.bundle.manifest import Int8Decoder, Manifest
from ..runtime.bundle.reading import file_sha256, graph_path, load_manifest, write_manifest
from ..runtime.decoder import draw_dropout
from ..runtime.errors import ExportError
from ..runtime.noise import Noise
from ..runtime.options import SpeechOptions
from ..runtime.synthesizer import Synthesizer
from .parity import PIPELINE_FRAMES, STATE_STEPS, TOLERANCES, compare, example_ids, find_mismatch

FILE = "decoder_step.int8.onnx"
LSTM_WEIGHT = "_rnn.gates.weight"  # how names of the LSTM cells' weights end in a decoder_step graph
# Weights per scale. With 32 ONNX Runtime gives an item the same bits in every batch; with 128 it does not.
BLOCK = 32
ZERO_POINT = 128  # default of MatMulNBits, whose zero points are then left out
MICROSOFT = "com.microsoft"  # the domain of MatMulNBits
# As for bfloat16, which rounds a weight by up to 1/512 of itself; this does by up to 1/254 of the largest in its block.
TOLERANCE = TOLERANCES["bf16"]


def quantize_decoder(bundle: str | Path, force: bool = False) -> Manifest:
    """Add a decoder step with 8-bit weights to a bundle, compared with the float32 one, and return the manifest.

    The bundle is replaced atomically; other files in its folder stay. force: replace one that has the graph's name.
    Raises BundleError if `bundle` is not a bundle, ExportError if its precision is not fp32 or if the 8-bit decoder
    differs by more than its tolerance.
    """
    bundle = Path(bundle)
    manifest = load_manifest(bundle)
    with extended_bundle(bundle, msgspec.structs.replace(manifest, int8_decoder=None), force) as folder:
        return write_int8_decoder(folder, manifest)


def write_int8_decoder(folder: Path, manifest: Manifest) -> Manifest:
    """Write the 8-bit graph and the manifest that lists it into a bundle's folder, and return the manifest.

    Raises ExportError if the precision is not fp32 or if the graph differs by more than its tolerance.
    """
    if manifest.precision != "fp32":
        raise ExportError(f"decoder weights int8: expected a bundle of precision fp32, got {manifest.precision}")
    model = onnx.load(graph_path(folder, "decoder_step", manifest.graphs["decoder_step"]))
    quantize_lstm_cells(model)
    onnx.save(model, folder / FILE)
    decoder = Int8Decoder(file=FILE, sha256=file_sha256(folder / FILE), parity={}, stop_frames=())
    write_manifest(folder, manifest, int8_decoder=decoder)
    decoder = _measure(folder, decoder)
    _check(decoder)
    return write_manifest(folder, manifest, int8_decoder=decoder)


def quantize_lstm_cells(model: onnx.ModelProto) -> None:
    """Replace the products of the LSTM cells in a decoder_step graph by MatMulNBits."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith(LSTM_WEIGHT)}
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in weights:
            weight = numpy_helper.to_array(weights[node.input[1]])
            codes, scales = quantize(weight, BLOCK)
            names = [f"{node.input[1]}.codes", f"{node.input[1]}.scales"]
            graph.initializer.append(numpy_helper.from_array(codes, names[0]))
            graph.initializer.append(numpy_helper.from_array(scales, names[1]))
            outputs, inputs = weight.shape
            attributes = {"K": inputs, "N": outputs, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
            arguments = [node.input[0], *names, "", "", node.input[2]]  # no zero points, no group indices; the bias
            node.CopyFrom(
                helper.make_node("MatMulNBits", arguments, node.output, node.name, domain=MICROSOFT, **attributes)
            )
    kept = [tensor for tensor in graph.initializer if tensor.name not in weights]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def quantize(weight: NDArray[np.float32], block: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round a weight [N, K] to 8 bits per number: codes [N, blocks, block] and scales [N, blocks] of MatMulNBits.

    A weight is (code - 128) * scale; its error is at most half a scale, which is 1/254 of the largest in its block. The
    last block is padded with zeros.
    """
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -inputs % block))).reshape(outputs, -1, block)
    scales = np.abs(padded).max(2) / np.float32(127.0)
    steps = np.rint(padded / np.where(scales == 0.0, np.float32(1.0), scales)[:, :, None])
    return (steps + ZERO_POINT).astype(np.uint8), scales


def _measure(folder: Path, decoder: Int8Decoder) -> Int8Decoder:
    """Compare both decoders on the same inputs in the middle of two utterances, and at the ends that each finds."""
    exact, rounded = (Synthesizer.load(folder, "onnxruntime", compute=compute) for compute in ("fp32", "int8"))
    ids = example_ids(exact)[: exact.manifest.range("B").max]
    noises = [Noise(i) for i in range(len(ids))]
    encoded = exact.acoustic.encode(ids)
    steps = exact.acoustic.decoder_steps(encoded, noises)
    for step in range(STATE_STEPS):
        steps.launch(step)
    shape = exact.manifest.graphs["decoder_step"].tensors["prenet_dropout"].resolve({"B": len(ids)})
    dropout = np.zeros((1, *shape), np.float32)
    draw_dropout(dropout, STATE_STEPS, noises)
    inputs = {**vars(encoded), **steps.states, "prenet_dropout": dropout[0]}
    expected, got = (voice.backend.open("decoder_step").run(**inputs) for voice in (exact, rounded))
    frames = min(PIPELINE_FRAMES, exact.manifest.decoder.max_frames)
    limit = SpeechOptions(max_frames=frames, retries=0, attention_stop=False).resolve(exact.manifest)
    ends = [
        [item.mel_length for item in voice.acoustic.decode(ids, encoded, noises, limit)] for voice in (exact, rounded)
    ]
    return msgspec.structs.replace(
        decoder,
        parity={name: compare(got[name], expected[name], TOLERANCE.graph) for name in expected},
        stop_frames=tuple(zip(*ends, strict=True)),
    )


def _check(decoder: Int8Decoder) -> None:
    """Raise ExportError if an error exceeds its tolerance, or if the stop frames differ too much."""
    mismatch = find_mismatch({"decoder_step": decoder.parity})
    if mismatch is not None:
        _, tensor, entry = mismatch
        raise ExportError(
            f"decoder weights int8: {tensor} differs from the float32 decoder by {entry.max_abs_error:.3g}, "
            f"tolerance {entry.tolerance:.3g}; leave --decoder-weights out"
        )
    for expected, got in decoder.stop_frames:
        if not TOLERANCE.admits_stop(expected, got):
            raise ExportError(
                f"decoder weights int8: the float32 decoder stops at frame {expected}, the 8-bit one at {got}; "
                "leave --decoder-weights out"
            )
