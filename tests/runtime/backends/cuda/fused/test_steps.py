"""The fused decoder in the product: voices under the pretended driver, whose kernel runs in the CPU emulation."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.fused import steps
from tacoglow.runtime.backends.cuda.fused.steps import FusedDecoder, FusedSteps
from tacoglow.runtime.backends.cuda.graph import CudaGraphRunner
from tacoglow.runtime.backends.cuda.idle import MAX_IDLE_BUFFERS
from tacoglow.runtime.errors import BackendError, Cancelled
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.audio import Audio
from tacoglow.tests.pretend_driver.driver import LAUNCH_FAILED, PretendDriver

from ..conftest import launches, on_device

TEXT = "I missed you, and the rest."
FOREVER = SpeechOptions(gate_threshold=1.0 - 1e-12)  # the gate never fires: every utterance is 40 frames long
CLOSE = 2e-2  # of a random voice's mel, whose values are about one: both are of half precision

pytestmark = pytest.mark.filterwarnings("ignore::tacoglow.runtime.synthesizer.SpeechWarning")


def assert_same(got: Audio, expected: Audio) -> None:
    assert got.stop_reason == expected.stop_reason
    for one, other in zip(got.utterances, expected.utterances, strict=True):
        for field in ("mel", "alignment", "gate"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def assert_close(got: Audio, expected: Audio) -> None:
    for one, other in zip(got.utterances, expected.utterances, strict=True):
        assert one.mel.shape == other.mel.shape
        assert np.abs(one.mel - other.mel).max() < CLOSE
        assert np.abs(one.alignment - other.alignment).max() < CLOSE
        assert np.abs(one.gate - other.gate).max() < CLOSE


def assert_close_samples(voice: Synthesizer, got: np.ndarray, expected: np.ndarray) -> None:
    """Apart from the samples that see the padding of the last window."""
    inner = len(expected) - voice.vocoder.padded_samples
    assert len(got) == len(expected)
    assert inner > len(expected) / 2
    np.testing.assert_allclose(got[:inner], expected[:inner], atol=1e-2)


@pytest.fixture
def device(half_bundle: Path, cuda: PretendDriver) -> Synthesizer:
    return on_device(half_bundle)


def test_speaks_what_the_host_speaks(device: Synthesizer, half_bundle: Path, cuda: PretendDriver) -> None:
    host = Synthesizer.load(half_bundle, "onnxruntime", threads=1)
    for seed, options in ((0, FOREVER), (2**64 - 1, SpeechOptions(max_frames=23, gate_threshold=0.99))):
        assert_close(device.say(TEXT, seed, options), host.say(TEXT, seed, options))
    assert launches(cuda) == 3 + 2  # 40 and 23 frames
    assert device.backend.decoder == "fused, tagged exchange"


def test_several_frames_a_step(half_reduced_bundle: Path, cuda: PretendDriver) -> None:
    device, host = on_device(half_reduced_bundle), Synthesizer.load(half_reduced_bundle, "onnxruntime", threads=1)
    assert_close(device.say(TEXT, 3, FOREVER), host.say(TEXT, 3, FOREVER))


def test_an_item_is_what_it_is_alone(device: Synthesizer) -> None:
    """In a batch of eleven, which is decoded as eight and three."""
    texts, seeds = [TEXT[: 27 - i] for i in range(11)], list(range(11))
    together = device.say_batch(texts, seeds, FOREVER)
    for i in (0, 7, 8, 10):
        assert_same(together[i], device.say(texts[i], seeds[i], FOREVER))


@pytest.mark.parametrize("chunk_steps", [2, 6])
def test_the_size_of_a_launch_changes_no_bit(
    device: Synthesizer, chunk_steps: int, half_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = device.say(TEXT, 5, FOREVER)
    monkeypatch.setattr(steps, "CHUNK_STEPS", chunk_steps)
    monkeypatch.setattr(FusedSteps, "chunk_steps", chunk_steps)
    assert_same(on_device(half_bundle).say(TEXT, 5, FOREVER), expected)


def test_streams_that_alternate(device: Synthesizer) -> None:
    whole = {seed: device.say(TEXT, seed, FOREVER).samples for seed in (1, 2)}
    streams = {seed: device.stream(TEXT, seed, StreamOptions(2, 6, None), FOREVER) for seed in (1, 2)}
    parts: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for _ in range(40):
        for seed, stream in streams.items():
            parts[seed].extend([samples] if (samples := next(stream, None)) is not None else [])
    for seed, samples in whole.items():
        assert_close_samples(device, np.concatenate(parts[seed]), samples)


def test_an_ended_batch_launches_nothing_more(device: Synthesizer) -> None:
    """The kernel itself stops one step after the last gate, and what was launched ahead returns at once."""
    runner = device.backend.open("decoder_step")
    assert isinstance(runner, CudaGraphRunner)
    assert runner.new_steps is not None
    fused = runner.new_steps.__self__  # type: ignore[attr-defined]
    assert isinstance(fused, FusedDecoder)
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    launched = fused.steps(encoded, [Noise(0)], gate_logit=-1e30)
    launched.launch(0)
    launched.launch(16)
    launched.read()
    launched.read()
    progress = np.zeros(2, np.int32)
    fused.stream.download(progress, launched._groups[0]._progress)  # type: ignore[attr-defined]
    fused.stream.record().wait()
    assert progress.tolist() == [0, 0]  # no step done by the second launch; the gate fired at step 0


def test_after_an_early_end_and_a_cancellation_speech_is_the_same(device: Synthesizer) -> None:
    expected = device.say(TEXT, 1, FOREVER)
    device.say(TEXT, 1, SpeechOptions(gate_threshold=1e-6))
    calls = iter([False, True])
    with pytest.raises(Cancelled):
        device.say(TEXT, 1, SpeechOptions(gate_threshold=1.0 - 1e-12, cancelled=lambda: next(calls)))
    next(iter(device.stream(TEXT, 2, StreamOptions(2, 6, None), FOREVER)))  # abandoned
    assert_same(device.say(TEXT, 1, FOREVER), expected)


def test_nothing_is_compiled_inside_a_request(
    device: Synthesizer, cuda: PretendDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of any size, and texts of any length, run the kernels of the next larger sizes."""
    assert device.backend.decoder  # opened, with its kernels
    monkeypatch.setattr(nvrtc, "compile_cubin", None)
    loaded = cuda.count("cuLibraryLoadData")
    for batch, groups in ((1, 1), (2, 1), (3, 1), (5, 1), (8, 1), (9, 2)):
        before = launches(cuda)
        device.say_batch([TEXT[: 1 + i] + "a" for i in range(batch)], list(range(batch)), FOREVER)
        assert launches(cuda) - before == 3 * groups  # 40 frames
    assert cuda.count("cuLibraryLoadData") == loaded


def test_retries_draw_new_noise(device: Synthesizer, half_bundle: Path) -> None:
    options = SpeechOptions(gate_threshold=1.0 - 1e-12, retries=1)
    host = Synthesizer.load(half_bundle, "onnxruntime", threads=1)
    assert_close(device.say(TEXT, 4, options), host.say(TEXT, 4, options))


def test_a_trap_is_an_error_with_a_way_out(device: Synthesizer, cuda: PretendDriver) -> None:
    cuda.refuse("kernel fused_decoder", LAUNCH_FAILED)
    with pytest.raises(BackendError, match=r"CUDA_ERROR_LAUNCH_FAILED.*start again with --decoder engine"):
        device.say(TEXT)


def test_idle_buffers_are_bounded(device: Synthesizer) -> None:
    runner = device.backend.open("decoder_step")
    encoded = device.acoustic.encode([device.front_end.encode(TEXT)])
    held = [runner.decoder_steps(encoded, [Noise(0)]) for _ in range(MAX_IDLE_BUFFERS + 3)]
    fused = runner.new_steps.__self__  # type: ignore[attr-defined]
    assert sum(map(len, fused.idle.values())) == 0
    del held
    assert sum(map(len, fused.idle.values())) == MAX_IDLE_BUFFERS


def test_the_engine_on_request(half_bundle: Path, cuda: PretendDriver) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        device = on_device(half_bundle, "engine")
        device.say(TEXT, 0, FOREVER)
    assert launches(cuda) == 0
    assert device.backend.decoder == ""
