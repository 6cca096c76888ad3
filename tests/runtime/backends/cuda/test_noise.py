"""Dropout and z as a GPU draws them: the kernels compiled for the host, and voices under the pretended driver."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tacoglow import StreamOptions
from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.device import find_gpu
from tacoglow.runtime.backends.cuda.noise import Z_TOLERANCE, NoiseWarning, open_device_noise
from tacoglow.runtime.backends.cuda.nvrtc import KERNELS, compile_cubin, kernel_source
from tacoglow.runtime.backends.cuda.slots import Slots
from tacoglow.runtime.backends.cuda.stream import CudaStream
from tacoglow.runtime.backends.tensorrt import backend
from tacoglow.runtime.decoder import PROFILES
from tacoglow.runtime.noise import Noise, PrefetchedNoise
from tacoglow.runtime.scheduling.rows import DeviceRows, new_row_decoder
from tacoglow.tests.pretend_driver.driver import PretendDriver, has_nvrtc
from tacoglow.tests.pretend_driver.emulation import build_noise

from .simulated_tensorrt import SimulatedTensorRT
from .test_loop import FOREVER, TEXT, on_device, on_host

MANY = 1 << 18  # groups


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """noise.cu compiled for the host."""
    return ctypes.CDLL(str(build_noise(kernel_source("noise.cu"))))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> PretendDriver:
    """The pretended driver, with TensorRT; noise is drawn by the kernels."""
    tensorrt = SimulatedTensorRT()
    tensorrt.install(monkeypatch)
    monkeypatch.setattr(backend, "open_device_noise", open_device_noise)
    return tensorrt.cuda


def drawn_z(library: ctypes.CDLL, key: tuple[int, int], first: int, groups: int, size: int, sigma: float) -> np.ndarray:
    z = np.full((size, groups), np.nan, np.float32)
    address = z.ctypes.data_as(ctypes.c_void_p)
    grid = map(ctypes.c_uint, (-(-groups // 256), -(-size // 4), 1))
    seed, utterance = map(ctypes.c_ulonglong, key)
    library.run_draw_z(*grid, address, seed, utterance, first, groups, size, ctypes.c_float(sigma))
    return z


@pytest.mark.parametrize("key", [(0, 0), (2**64 - 1, (7 << 32) + 3)])
@pytest.mark.parametrize(("first", "size"), [(0, 8), (123_456, 6), (1, 5), (2_000_000, 1)])
def test_z_is_the_hosts(library: ctypes.CDLL, key: tuple[int, int], first: int, size: int) -> None:
    z = drawn_z(library, key, first, 1000, size, 0.7)
    np.testing.assert_allclose(z, Noise(*key).z(first, 1000, size) * np.float32(0.7), atol=Z_TOLERANCE, rtol=0)


@pytest.mark.parametrize("moved", [-1, 0, 1])
def test_z_is_as_precise_as_is_said_whatever_the_functions_last_bits(library: ctypes.CDLL, moved: int) -> None:
    """Two million numbers, in which 5.2 is the largest: float32's spacing is 4.8e-7 there."""
    library.move_functions(moved)
    try:
        z = drawn_z(library, (3, 0), 0, MANY, 8, 1.0)
    finally:
        library.move_functions(0)
    assert np.abs(z - Noise(3).z(0, MANY, 8)).max() <= Z_TOLERANCE


@pytest.mark.parametrize("units", [(2, 256), (2, 100), (1, 3)])
def test_dropout_is_the_hosts_to_the_bit(cuda: PretendDriver, tmp_path: Path, units: tuple[int, int]) -> None:
    stream, noises, first_steps = CudaStream(0), [Noise(2**64 - 1, 5), Noise(1)], [1000, 7]
    items, slots = stream.empty((2, 3), np.uint64), Slots(stream, 16, (2, *units), np.float32)
    drawn_for = [(*noise.key, step) for noise, step in zip(noises, first_steps, strict=True)]
    stream.upload(items, np.array(drawn_for, np.uint64))
    drawer = open_device_noise(stream, find_gpu(0), tmp_path)
    assert drawer is not None
    drawer.draw_dropout(slots, items)
    block, drawn = slots.pinned()
    stream.download(block, slots.memory)
    stream.record().wait()
    for item, (noise, first_step) in enumerate(zip(noises, first_steps, strict=True)):
        np.testing.assert_array_equal(drawn[:, item], noise.prenet_dropout(first_step, 16, *units))


def test_a_voice_draws_its_noise_on_the_device(
    cuda: PretendDriver, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrefetchedNoise, "_draw", None)  # the host draws nothing ahead
    device = on_device(tiny_bundle)
    voice = on_host(tiny_bundle, device)
    for _ in range(3):  # not captured, captured, launched again
        got, expected = device.say(TEXT, 7, FOREVER), voice.say(TEXT, 7, FOREVER)
        np.testing.assert_array_equal(got.utterances[0].mel, expected.utterances[0].mel)
        np.testing.assert_allclose(got.samples, expected.samples, atol=1e-5)
    assert cuda.count("kernel draw_dropout") > 3
    assert cuda.count("kernel draw_z") > 3
    texts, seeds = [TEXT, "Go.", TEXT], [1, 2, 3]
    pairs = zip(device.say_batch(texts, seeds, FOREVER), voice.say_batch(texts, seeds, FOREVER), strict=True)
    for got, expected in pairs:
        np.testing.assert_array_equal(got.utterances[0].mel, expected.utterances[0].mel)
    whole = device.say(TEXT, 7, FOREVER)
    streamed = np.concatenate(list(device.stream(TEXT, 7, StreamOptions(2, 6, None), FOREVER)))
    np.testing.assert_allclose(
        streamed, np.concatenate(list(voice.stream(TEXT, 7, StreamOptions(2, 6, None), FOREVER))), atol=1e-5
    )
    assert len(streamed) == len(whole.samples)


def test_rows_draw_their_noise_on_the_device_each_from_its_own_step(
    cuda: PretendDriver, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = on_device(tiny_bundle)
    voice = on_host(tiny_bundle, device)
    rows = new_row_decoder(device.acoustic, 3, PROFILES["latency"])
    assert isinstance(rows, DeviceRows)
    encoded, options = device.acoustic.encode([device.front_end.encode(TEXT)]), FOREVER.resolve(device.manifest)
    opened = [rows.open(encoded, Noise(7), options)]
    rows.advance(opened, 8)
    opened += [rows.open(encoded, Noise(seed), options) for seed in (8, 9)]
    with monkeypatch.context() as patch:
        patch.setattr(Noise, "prenet_dropout", None)  # the host draws none
        while any(row.decoded.running for row in opened):
            rows.advance(opened, 8)
    for seed, row in zip((7, 8, 9), opened, strict=True):
        session = voice.acoustic.session(encoded, [Noise(seed)], options)
        session.advance(options.frame_limit)
        np.testing.assert_array_equal(row.decoded.item(0).mel, session.decoded.item(0).mel)


def test_a_mel_beyond_the_limit_is_refused(cuda: PretendDriver, tiny_bundle: Path) -> None:
    device = on_device(tiny_bundle)
    graph, frames = device.backend.open("waveglow"), device.manifest.range("F").max + 1
    mel = np.zeros((1, device.manifest.audio.n_mel_channels, frames), np.float32)
    with pytest.raises(ValueError, match=f"waveglow: F is {frames}"):
        graph.vocode(mel, Noise(0), 0, 1.0)


def test_where_the_kernels_are_wrong_the_host_draws(
    cuda: PretendDriver, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda.run_kernels(False)
    with pytest.warns(NoiseWarning, match="noise is drawn on the host: z differs from the host's by nan"):
        device = on_device(tiny_bundle)
    voice = on_host(tiny_bundle, device)
    np.testing.assert_array_equal(device.say(TEXT, 1, FOREVER).samples, voice.say(TEXT, 1, FOREVER).samples)


def test_where_they_cannot_be_compiled_the_host_draws(cuda: PretendDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("libnvrtc.so is missing")

    monkeypatch.setattr(nvrtc, "compile_cubin", compile_cubin)
    monkeypatch.setattr("cuda.core.Program", refuse)
    with pytest.warns(NoiseWarning, match=r"NVRTC cannot compile for sm_90.*pip install 'tacoglow\[gpu-cu1[23]\]'"):
        assert open_device_noise(CudaStream(0), find_gpu(0), Path("/nonexistent")) is None


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_it_without_warnings(tmp_path: Path) -> None:
    command = ["nvcc", "-arch=sm_80", "-std=c++17", "-cubin", "-Werror", "all-warnings", "-o", "noise.cubin"]
    done = subprocess.run([*command, str(KERNELS / "noise.cu")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed (pip install 'cuda-core[cu13]')")
def test_nvrtc_compiles_it() -> None:
    assert compile_cubin(kernel_source("noise.cu"), "sm_90").startswith(b"\x7fELF")
