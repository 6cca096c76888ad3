"""A GPU against ONNX Runtime's CPU provider on the same bundle: every graph, the whole pipeline, memory."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends.cuda.graph import CaptureWarning
from tacoglow.runtime.manifest import TensorSpec, graph_names
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests import tolerances

GRAPH_NAMES = graph_names("waveglow")

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
        mask: np.ndarray = np.arange(shape[1])[None, :] >= dims["T"] - np.arange(shape[0])[:, None]
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
@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_each_graph(device: Synthesizer, cpu: Synthesizer, graph: str, batch: int, size: str) -> None:
    if batch > 1 and graph != "decoder_step":
        pytest.skip("the other graphs run item by item")
    runner, reference = device.backend.open(graph), cpu.backend.open(graph)
    frames = {"smallest": 1, "short": 61, "long": 600}[size]
    dims = {"B": batch, "T": {"smallest": 1, "short": 27, "long": 128}[size], "F": frames}
    dims["S"] = max(cpu.manifest.range("S").min, frames * cpu.manifest.audio.hop_length)
    rng = np.random.default_rng(batch * 1000 + frames)
    inputs = {
        tensor.name: random_input(tensor, dims, rng, len(cpu.manifest.text.symbols)) for tensor in runner.spec.inputs
    }
    expected = reference.run(**inputs)
    for _ in range(3):  # as it is, while it is captured, and as a graph
        got = runner.run(**inputs)
        for name, array in expected.items():
            if array.dtype == bool:
                np.testing.assert_array_equal(got[name], array)
            else:
                scale = max(1.0, float(np.abs(array).max()))
                assert np.abs(got[name] - array).max() <= tolerance(device) * scale, name


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_speaks_the_same(device: Synthesizer, cpu: Synthesizer, text: str, seed: int) -> None:
    got, expected = device.say(text, seed), cpu.say(text, seed)
    stops = [audio.utterances[0].mel.shape[1] for audio in (got, expected)]
    if cpu.manifest.precision == "fp32":
        assert stops[0] == stops[1]
    else:
        assert abs(stops[0] - stops[1]) <= 0.1 * stops[1]
    frames = min(20, *stops)  # later the decoder, which feeds on itself, amplifies rounding
    mels = [audio.utterances[0].mel[:, :frames] for audio in (got, expected)]
    assert np.abs(mels[0] - mels[1]).max() <= tolerances.DEVICE_MEL[cpu.manifest.precision]


def test_an_item_speaks_the_same_in_every_batch(device: Synthesizer) -> None:
    texts = ["One.", SHORT, LONG, "And another one.", SHORT, "Two."]
    batch = device.say_batch(texts, list(range(6)))
    for seed, (text, audio) in enumerate(zip(texts, batch, strict=True)):
        alone = device.say(text, seed)
        assert alone.utterances[0].mel.shape == audio.utterances[0].mel.shape
        assert np.abs(alone.samples - audio.samples).max() <= tolerance(device)


def test_a_stream_adds_up_to_the_whole(device: Synthesizer) -> None:
    whole = device.say(LONG, 3).samples
    samples = np.concatenate(list(device.stream(LONG, 3, context_frames=None)))
    assert samples.shape == whole.shape
    assert np.abs(samples - whole).max() <= 10 * tolerance(device)


def test_the_decoder_is_captured_on_tensorrt(device: Synthesizer) -> None:
    if not device.backend.name.startswith("tensorrt"):
        pytest.skip("ONNX Runtime's runs are enqueued")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        device.say(SHORT)
    assert not [warning for warning in seen if warning.category is CaptureWarning and "decoder" in str(warning.message)]


def test_device_memory_stays_where_it_was(device: Synthesizer) -> None:
    """200 utterances of mixed lengths and batch sizes."""
    from cuda.bindings import driver

    def used() -> int:
        gc.collect()
        error, free, total = driver.cuMemGetInfo()
        assert error == driver.CUresult.CUDA_SUCCESS
        return int(total) - int(free)

    words = LONG.split()
    rng = np.random.default_rng(0)
    spoken, settled = 0, 0
    while spoken < 200:
        texts = [" ".join(words[: rng.integers(1, len(words))]) for _ in range(rng.integers(1, 5))]
        device.say_batch(texts, options=SpeechOptions(max_frames=300))
        spoken += len(texts)
        if spoken >= 10 and not settled:
            settled = used()
    assert used() - settled <= 64 << 20  # the pool keeps what it has; shapes seen for the first time add to it
