"""The TensorRT backend and its decoder loop under the pretended driver, which runs work as late as possible."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.backends.base import BackendOptions
from tacoglow.runtime.backends.cuda.chunks import CHUNK_STEPS, CudaSteps, EngineDecoder
from tacoglow.runtime.backends.cuda.graph import MAX_CACHED_SHAPES, CaptureWarning, CudaGraphRunner
from tacoglow.runtime.backends.cuda.idle import MAX_IDLE_BUFFERS
from tacoglow.runtime.backends.onnxruntime import OnnxRuntimeBackend
from tacoglow.runtime.backends.tensorrt.backend import TensorRTBackend
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.decoder import Chunk
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.audio import Audio
from tacoglow.runtime.scheduling.rows import SeparateRows

from .simulated_tensorrt import SHARES_PROFILES, SimulatedContext, SimulatedTensorRT

TEXT = "I missed you, and the rest."
FOREVER = SpeechOptions(gate_threshold=1.0 - 1e-12)  # the gate never fires: every utterance has 40 frames


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> SimulatedTensorRT:
    simulated = SimulatedTensorRT()
    simulated.install(monkeypatch)
    return simulated


@pytest.fixture
def device(tiny_bundle: Path, tensorrt: SimulatedTensorRT) -> Synthesizer:
    return on_device(tiny_bundle)


def on_device(bundle: Path) -> Synthesizer:
    return Synthesizer(TensorRTBackend(bundle, load_manifest(bundle), BackendOptions()))


def on_host(bundle: Path, device: Synthesizer) -> Synthesizer:
    """The voice on the CPU, with its windows padded as the device's are."""
    host = OnnxRuntimeBackend(bundle, load_manifest(bundle), BackendOptions(threads=1))
    for graph in ("postnet", "waveglow"):
        host.open(graph).window_sizes = device.backend.open(graph).window_sizes
    return Synthesizer(host)


@pytest.fixture
def voice(tiny_bundle: Path, device: Synthesizer) -> Synthesizer:
    return on_host(tiny_bundle, device)


def assert_same(got: Audio, expected: Audio) -> None:
    assert got.stop_reason == expected.stop_reason
    np.testing.assert_array_equal(got.samples, expected.samples)
    for one, other in zip(got.utterances, expected.utterances, strict=True):
        for field in ("mel", "alignment", "gate"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text("abcdefg ,.", min_size=1, max_size=70).filter(str.strip), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
    threshold=st.sampled_from([0.2, 0.45, 0.5, 1.0 - 1e-12]),
    max_frames=st.integers(1, 40),
)
def test_device_equals_host(
    voice: Synthesizer, device: Synthesizer, texts: list[str], seed: int, threshold: float, max_frames: int
) -> None:
    options = SpeechOptions(gate_threshold=threshold, max_frames=max_frames)
    seeds = [seed + i for i in range(len(texts))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = zip(device.say_batch(texts, seeds, options), voice.say_batch(texts, seeds, options), strict=True)
    for got, expected in pairs:
        assert_same(got, expected)


def captures(tensorrt: SimulatedTensorRT) -> int:
    return tensorrt.cuda.count("cuGraphInstantiateWithFlags")


def launches(tensorrt: SimulatedTensorRT) -> int:
    return tensorrt.cuda.count("cuGraphLaunch")


def test_nothing_is_captured_inside_a_request(device: Synthesizer, tensorrt: SimulatedTensorRT) -> None:
    """Texts of any length, said and streamed: every run is a launch of a graph that was captured at opening."""
    opened, contexts = captures(tensorrt), dict(tensorrt.contexts)
    texts = ["One.", "One two.", "One two three.", TEXT, "A longer text, by some words."]
    options = [FOREVER, *(SpeechOptions(gate_threshold=1.0 - 1e-12, max_frames=frames) for frames in (1, 7, 23, 38))]
    for text, each in zip(texts, options, strict=True):
        before = launches(tensorrt)
        device.say(text, options=each)
        chunks = -(-(each.max_frames or 40) // CHUNK_STEPS)
        windows = launches(tensorrt) - before - chunks - 2  # encoder and postnet
        assert windows >= 1
        list(device.stream(text, 1, StreamOptions(2, 6, None), each))
    assert captures(tensorrt) == opened
    assert tensorrt.contexts == contexts


@pytest.mark.parametrize("version", SHARES_PROFILES)
def test_every_tensorrt_version(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """If the contexts of an engine cannot share its profile, each context has its own engine."""
    tensorrt = SimulatedTensorRT(version)
    tensorrt.install(monkeypatch)
    device = on_device(tiny_bundle)
    voice = on_host(tiny_bundle, device)
    for texts in ([TEXT], ["Go.", TEXT], [TEXT], ["A longer text, by some words."], [TEXT]):
        pairs = zip(device.say_batch(texts, options=FOREVER), voice.say_batch(texts, options=FOREVER), strict=True)
        for got, expected in pairs:
            assert_same(got, expected)
    assert tensorrt.contexts["decoder_step"] > 1
    for graph, contexts in tensorrt.contexts.items():
        assert tensorrt.engines[graph] == 1 + (0 if SHARES_PROFILES[version] else contexts)


def test_voice_is_usable_in_other_threads(device: Synthesizer, voice: Synthesizer) -> None:
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        assert_same(first.submit(device.say, TEXT).result(), voice.say(TEXT))
        stream = device.stream(TEXT, 1, StreamOptions(2, 6, None), FOREVER)
        samples = [pool.submit(next, stream, None).result() for pool in (first, second) * 8]
    expected = np.concatenate(list(voice.stream(TEXT, 1, StreamOptions(2, 6, None), FOREVER)))
    np.testing.assert_array_equal(np.concatenate([part for part in samples if part is not None]), expected)


@pytest.mark.full
def test_voices_with_several_frames_per_step(reduced_bundle: Path, tensorrt: SimulatedTensorRT) -> None:
    device = on_device(reduced_bundle)
    host = on_host(reduced_bundle, device)
    for options in (FOREVER, SpeechOptions(gate_threshold=0.45), SpeechOptions(max_frames=7)):
        assert_same(device.say(TEXT, options=options), host.say(TEXT, options=options))


def test_alternating_streams_do_not_share_memory(voice: Synthesizer, device: Synthesizer) -> None:
    """Two streams of the same token bucket, advanced alternately."""
    streams = [
        device.stream(text, seed, StreamOptions(2, 6, None), FOREVER)
        for text, seed in ((TEXT, 1), ("You missed me.", 2))
    ]
    parts: list[list[np.ndarray]] = [[], []]
    for _ in range(40):
        for stream, part in zip(streams, parts, strict=True):
            part.extend([samples] if (samples := next(stream, None)) is not None else [])
    for text, seed, part in ((TEXT, 1, parts[0]), ("You missed me.", 2, parts[1])):
        whole = np.concatenate(list(voice.stream(text, seed, StreamOptions(2, 6, None), FOREVER)))
        np.testing.assert_array_equal(np.concatenate(part), whole)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loop's launches and reads of chunks, in order."""
    events = []
    launch, read = CudaSteps.launch, CudaSteps.read

    def record_launch(steps: CudaSteps, first_step: int) -> None:
        events.append(f"launch {first_step}")
        launch(steps, first_step)

    def record_read(steps: CudaSteps) -> Chunk:
        events.append("read")
        return read(steps)

    monkeypatch.setattr(CudaSteps, "launch", record_launch)
    monkeypatch.setattr(CudaSteps, "read", record_read)
    return events


def test_gates_are_read_one_chunk_late(device: Synthesizer, events: list[str]) -> None:
    device.say(TEXT, options=FOREVER)
    assert CHUNK_STEPS == 16  # 40 frames are three chunks
    assert events == ["launch 0", "launch 16", "read", "launch 32", "read", "read"]


def test_stream_launches_no_chunk_beyond_its_segment(device: Synthesizer, events: list[str]) -> None:
    """2 frames and all that they depend on are less than a chunk of 16 steps: the vocoder runs next."""
    with device.stream(TEXT, 1, StreamOptions(2, 6, 0), FOREVER) as stream:
        next(stream)
        assert events == ["launch 0", "read"]
        list(stream)
    assert events == ["launch 0", "read", "launch 16", "read", "launch 32", "read"]


def test_early_stop_runs_at_most_one_extra_chunk(device: Synthesizer, voice: Synthesizer, events: list[str]) -> None:
    """The gate fires in the first chunk, when the second is already launched, which must not affect the next call."""
    audio = device.say(TEXT, options=SpeechOptions(gate_threshold=1e-6))
    assert audio.stop_reason == "gate"
    assert events == ["launch 0", "launch 16", "read"]
    assert_same(device.say(TEXT, options=FOREVER), voice.say(TEXT, options=FOREVER))


def test_all_separate_rows_are_launched_before_one_is_waited_for(device: Synthesizer, events: list[str]) -> None:
    decoder, options = SeparateRows(device.acoustic, 3), FOREVER.resolve(device.manifest)
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    rows = [decoder.open(encoded, Noise(seed), options) for seed in range(3)]
    decoder.advance(rows, 8)
    assert events == ["launch 0"] * 3 + ["read"] * 3


def test_chunk_is_captured_once_per_batch_and_bucket(device: Synthesizer, tensorrt: SimulatedTensorRT) -> None:
    def decode(batch: int) -> None:
        ids = [device.front_end.encode(TEXT)] * batch
        device.acoustic.decode(
            ids, device.acoustic.encode(ids), [Noise(i) for i in range(batch)], FOREVER.resolve(device.manifest)
        )

    opened = captures(tensorrt)
    for batch in (1, 2, 1, 2, 2, 1):
        decode(batch)
    assert captures(tensorrt) == opened + 1  # of two items; that of one was captured at opening


def idle_chunks(step: CudaGraphRunner) -> Mapping[tuple[int, int], Sequence[object]]:
    decoder = step.new_steps.__self__  # type: ignore[union-attr]
    assert isinstance(decoder, EngineDecoder)
    return decoder._idle


def test_chunk_cache_is_bounded(device: Synthesizer) -> None:
    step = device.backend.open("decoder_step")
    assert isinstance(step, CudaGraphRunner)
    ids = device.front_end.encode(TEXT)
    encoded = device.acoustic.encode([ids])
    in_use = [step.decoder_steps(encoded, [Noise(0)]) for _ in range(MAX_IDLE_BUFFERS + 3)]
    assert not idle_chunks(step)[encoded.memory.shape[:2]]
    del in_use
    gc.collect()
    assert sum(map(len, idle_chunks(step).values())) == MAX_IDLE_BUFFERS


def test_chunk_cache_evicts_while_the_oldest_buffers_are_in_use(device: Synthesizer) -> None:
    step = device.backend.open("decoder_step")
    assert isinstance(step, CudaGraphRunner)
    ids = device.front_end.encode(TEXT)
    one, two = device.acoustic.encode([ids]), device.acoustic.encode([ids, ids])
    step.decoder_steps(one, [Noise(0)])  # freed at once, so the next line uses the same buffers
    in_use = [step.decoder_steps(one, [Noise(0)])]
    in_use += [step.decoder_steps(two, [Noise(0), Noise(1)]) for _ in range(MAX_IDLE_BUFFERS + 1)]
    del in_use[1:]
    gc.collect()
    assert sum(map(len, idle_chunks(step).values())) == MAX_IDLE_BUFFERS


def graphs_warned_about(recorded: pytest.WarningsRecorder) -> list[str]:
    return [str(warning.message).split(":")[0] for warning in recorded if warning.category is CaptureWarning]


def test_failed_captures_warn_once_per_graph(tensorrt: SimulatedTensorRT, tiny_bundle: Path) -> None:
    tensorrt.cuda.reject_captures()
    with pytest.warns(CaptureWarning, match=r"decoder_step: cannot be captured as.*cannot capture") as recorded:
        device = on_device(tiny_bundle)
    assert graphs_warned_about(recorded) == ["encoder", "decoder_step", "postnet", "waveglow"]
    voice = on_host(tiny_bundle, device)
    for _ in range(3):
        assert_same(device.say(TEXT, options=FOREVER), voice.say(TEXT, options=FOREVER))


def test_a_shape_that_cannot_be_captured_does_not_keep_others_from_it(
    tensorrt: SimulatedTensorRT, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False])
    monkeypatch.setattr(
        SimulatedContext, "is_stream_capturable", lambda context, stream: next(answers, True), raising=False
    )
    with pytest.warns(CaptureWarning, match="encoder: .*the engine reports that it is not capturable"):
        device = on_device(tiny_bundle)
    buckets = len(device.manifest.synthesis.token_buckets(device.manifest.range("T").max))
    frames = [len(device.backend.open(graph).window_sizes) for graph in ("postnet", "waveglow")]
    assert captures(tensorrt) == (buckets - 1) + buckets + sum(frames)
    assert_same(device.say(TEXT, options=FOREVER), on_host(tiny_bundle, device).say(TEXT, options=FOREVER))


def test_other_shapes_are_enqueued(device: Synthesizer, tensorrt: SimulatedTensorRT) -> None:
    """In one context for all; what is kept of them is bounded."""
    postnet = device.backend.open("postnet")
    assert isinstance(postnet, CudaGraphRunner)
    bands, opened, contexts = device.manifest.audio.n_mel_channels, captures(tensorrt), tensorrt.contexts["postnet"]

    def run(frames: int) -> np.ndarray:
        mel = np.random.default_rng(frames).standard_normal((1, bands, frames)).astype(np.float32)
        return postnet.run(mel=mel, mel_lengths=np.array([frames], np.int32))["mel_postnet"]

    once = [run(frames) for frames in (3, 4, 5)]
    for frames in range(6, 6 + MAX_CACHED_SHAPES):
        run(frames)
    assert len(postnet._enqueued) == MAX_CACHED_SHAPES
    for frames, expected in zip((3, 4, 5), once, strict=True):
        np.testing.assert_array_equal(run(frames), expected)
    assert captures(tensorrt) == opened
    assert tensorrt.contexts["postnet"] == contexts + 1


def test_denoiser_engine_is_built_at_its_first_use(device: Synthesizer, tensorrt: SimulatedTensorRT) -> None:
    device.say(TEXT)
    assert "denoiser" not in tensorrt.engines
    for _ in range(2):
        device.say(TEXT, options=SpeechOptions(denoise=0.1))
    assert tensorrt.engines["denoiser"] == 1


def test_graph_that_is_not_capturable_is_enqueued(
    tensorrt: SimulatedTensorRT, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX reports it; nothing is captured then."""
    monkeypatch.setattr(SimulatedContext, "is_stream_capturable", lambda context, stream: False, raising=False)
    with pytest.warns(CaptureWarning, match="decoder_step: .*the engine reports that it is not capturable"):
        device = on_device(tiny_bundle)
    assert_same(device.say(TEXT, options=FOREVER), on_host(tiny_bundle, device).say(TEXT, options=FOREVER))
    assert captures(tensorrt) == 0


def test_the_next_segments_steps_are_launched_before_a_window_and_not_waited_for(
    device: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the first window, which somebody waits for."""
    launched: list[CudaSteps] = []
    unfinished: list[bool] = []
    launch, vocode = CudaSteps.launch, CudaGraphRunner.vocode

    def note_launch(steps: CudaSteps, first_step: int) -> None:
        launched[:] = [steps]
        launch(steps, first_step)

    def note_window(runner: CudaGraphRunner, *arguments: Any) -> Any:
        audio = vocode(runner, *arguments)
        unfinished.append(any(not event.event.is_done for _, event in launched[0]._launched))
        return audio

    monkeypatch.setattr(CudaSteps, "launch", note_launch)
    monkeypatch.setattr(CudaGraphRunner, "vocode", note_window)
    segments = list(device.stream(TEXT, 1, StreamOptions(8, 4, 0), FOREVER))
    assert len(segments) == len(unfinished)
    assert not unfinished[0]
    assert any(unfinished)
