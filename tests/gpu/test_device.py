"""Compares a GPU with ONNX Runtime's CPU provider on the same bundle: every graph, the pipeline, memory."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends.cuda.device import device_memory
from tacoglow.runtime.backends.cuda.graph import CudaGraphRunner
from tacoglow.runtime.bundle.manifest import TensorSpec, graph_names
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.tests import tolerances

pytestmark = pytest.mark.gpu

SHORT = "Hello world, I missed you."
LONG = "Under these circumstances, unnatural as they are, the bean will thrust forth its radicle, and the rest follows."


def tolerance(synthesizer: Synthesizer) -> float:
    return tolerances.DEVICE[synthesizer.manifest.precision]


def random_input(tensor: TensorSpec, dims: dict[str, int], rng: np.random.Generator, symbols: int) -> np.ndarray:
    shape = tensor.resolve(dims)
    if tensor.name == "token_ids":
        return rng.integers(0, symbols, shape).astype(np.int32)
    if tensor.name.endswith("_lengths"):
        length = dims["T"] if tensor.name == "token_lengths" else dims["F"]
        return np.maximum(1, length - np.arange(shape[0], dtype=np.int32))
    if tensor.name == "memory_mask":
        lengths = np.maximum(1, dims["T"] - np.arange(shape[0]))  # an item without a token has no attention
        mask: np.ndarray = np.arange(shape[1])[None, :] >= lengths[:, None]
        return mask
    if tensor.name == "prenet_dropout":
        return (2 * rng.integers(0, 2, shape)).astype(np.float32)
    if tensor.name == "strength":
        return np.full(shape, 0.01, np.float32)
    if tensor.name.startswith("attention_weights"):
        weights: np.ndarray = rng.random(shape, np.float32)
        weights /= weights.sum(1, keepdims=True, dtype=np.float32)
        return weights
    return (0.5 * rng.standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("size", ["smallest", "short", "long"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("graph", graph_names("waveglow"))
def test_graph_equals_cpu(device: Synthesizer, cpu: Synthesizer, graph: str, batch: int, size: str) -> None:
    if batch > 1 and graph != "decoder_step":
        pytest.skip("only decoder_step runs in batches")
    runner, reference = device.backend.open(graph), cpu.backend.open(graph)
    longest = runner.window_sizes[-1] if runner.window_sizes else 600  # of the captured ones
    frames = {"smallest": 1, "short": 61, "long": longest}[size]
    dims = {"B": batch, "T": {"smallest": 1, "short": 27, "long": 128}[size], "F": frames}
    dims["S"] = max(cpu.manifest.range("S").min, frames * cpu.manifest.audio.hop_length)
    rng = np.random.default_rng(batch * 1000 + frames)
    inputs = {
        tensor.name: random_input(tensor, dims, rng, len(cpu.manifest.text.symbols)) for tensor in runner.spec.inputs
    }
    expected = reference.run(**inputs)
    for _ in range(3):
        got = runner.run(**inputs)
        for name, array in expected.items():
            if array.dtype == bool:
                np.testing.assert_array_equal(got[name], array)
            else:
                scale = max(1.0, float(np.abs(array).max()))
                assert np.abs(got[name] - array).max() <= tolerance(device) * scale, name


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("seed", [0, 7])
def test_speech_equals_cpu(device: Synthesizer, cpu: Synthesizer, text: str, seed: int) -> None:
    got, expected = device.say(text, seed), cpu.say(text, seed)
    stops = [audio.utterances[0].mel.shape[1] for audio in (got, expected)]
    if cpu.manifest.precision == "fp32":
        assert stops[0] == stops[1]
    else:
        assert abs(stops[0] - stops[1]) <= 0.1 * stops[1]
    frames = min(20, *stops)  # later frames amplify rounding
    mels = [audio.utterances[0].mel[:, :frames] for audio in (got, expected)]
    assert np.abs(mels[0] - mels[1]).max() <= tolerances.DEVICE_MEL[cpu.manifest.precision]


def test_batch_equals_single_items(device: Synthesizer) -> None:
    texts = ["One.", SHORT, LONG, "And another one.", SHORT, "Two."]
    batch = device.say_batch(texts, list(range(6)))
    for seed, (text, audio) in enumerate(zip(texts, batch, strict=True)):
        alone = device.say(text, seed)
        assert alone.utterances[0].mel.shape == audio.utterances[0].mel.shape
        assert np.abs(alone.samples - audio.samples).max() <= tolerance(device)


def test_stream_equals_unstreamed_speech(device: Synthesizer) -> None:
    whole = device.say(LONG, 3).samples
    samples = np.concatenate(list(device.stream(LONG, 3, StreamOptions(context_frames=None))))
    assert samples.shape == whole.shape
    inner = len(whole) - device.vocoder.padded_samples  # the last window's padding differs
    assert np.abs(samples - whole)[:inner].max() <= 10 * tolerance(device)


def test_decoder_is_captured_on_tensorrt(device: Synthesizer) -> None:
    if not device.backend.name.startswith("tensorrt"):
        pytest.skip("only TensorRT's runs are captured")
    device.say(SHORT)
    step = device.backend.open("decoder_step")
    assert isinstance(step, CudaGraphRunner)
    assert not step.has_failed_capture


def test_device_memory_is_bounded(device: Synthesizer) -> None:
    """200 utterances of mixed lengths and batch sizes."""

    def used() -> int:
        gc.collect()
        memory = device_memory(0)
        return memory.total - memory.free

    words = LONG.split()
    rng = np.random.default_rng(0)
    count, baseline = 0, 0
    while count < 200:
        texts = [" ".join(words[: rng.integers(1, len(words))]) for _ in range(rng.integers(1, 5))]
        device.say_batch(texts, options=SpeechOptions(max_frames=300))
        count += len(texts)
        if count >= 10 and not baseline:
            baseline = used()
    assert used() - baseline <= 64 << 20  # the memory pool keeps its blocks and grows with new shapes


def test_noise_is_drawn_on_the_device(device: Synthesizer) -> None:
    """Opening the voice has compared it with the host's; the host draws only where that failed."""
    if not device.backend.has_fused_decoder:
        pytest.skip("only TensorRT backends draw noise on the device")
    assert device.backend.open("waveglow").draws_noise
