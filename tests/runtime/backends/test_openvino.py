"""The vocoder on OpenVINO against ONNX Runtime: equal in float32, close in bfloat16, at few sizes, in many threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.backends.base import Array
from tacoglow.runtime.backends.openvino import WITHOUT_KERNELS, OpenVinoVocoder, import_openvino
from tacoglow.runtime.errors import BundleError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions
from tacoglow.tests.runtime.bundle.test_graph_files import seal
from tacoglow.tests.tolerances import WINDOWS

pytest.importorskip("openvino")

BUNDLES = pytest.mark.parametrize("name", ["tiny_bundle", "hifigan_bundle"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def mel_of(voice: Synthesizer, frames: int) -> Array:
    random = np.random.default_rng(frames)
    return random.normal(-4.0, 1.0, (voice.manifest.audio.n_mel_channels, frames)).astype(np.float32)


@BUNDLES
def test_float32_equals_onnxruntime(name: str, request: pytest.FixtureRequest) -> None:
    """Up to the receptive field before the mel's end: there a window is padded with the mel's last frame."""
    bundle: Path = request.getfixturevalue(name)
    expected, got = (Synthesizer.load(bundle, backend, threads=1) for backend in ("onnxruntime", "openvino"))
    for frames in (expected.manifest.range("F").max, 21, 5):
        mel = mel_of(expected, frames)
        whole, own = expected.vocode(mel, seed=3).samples, got.vocode(mel, seed=3).samples
        assert own.shape == whole.shape
        inner = max(0, len(whole) - got.vocoder.padded_samples)
        np.testing.assert_allclose(own[:inner], whole[:inner], atol=WINDOWS)


@BUNDLES
def test_it_runs_at_few_sizes(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other number of frames would be compiled inside the request."""
    voice = Synthesizer.load(request.getfixturevalue(name), "openvino", threads=1)
    graph = voice.backend.open(voice.manifest.vocoder.kind)
    assert isinstance(graph, OpenVinoVocoder)
    assert len(graph.window_sizes) <= 6
    sizes = set()
    run = OpenVinoVocoder.run

    def noted(self: OpenVinoVocoder, **inputs: Array) -> dict[str, Array]:
        sizes.add(inputs["mel"].shape[2])
        return run(self, **inputs)

    monkeypatch.setattr(OpenVinoVocoder, "run", noted)
    for text in ("Hello world, I missed you.", "Speak.", "A third text, which is a little longer."):
        voice.say(text, rate=0.8, denoise=0.1)
        list(voice.stream(text))
    assert sizes <= set(graph.window_sizes)


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def test_graph_in_another_format_is_rejected(tiny_bundle: Path, tmp_path: Path) -> None:
    """OpenVINO's own format, whose weights are in another file; a reader of ONNX finds two unknown fields in it."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "voice"))
    core = import_openvino().Core()
    import_openvino().save_model(core.read_model(tiny_bundle / "waveglow.onnx"), tmp_path / "own.xml")
    own = b"-->" + (tmp_path / "own.xml").read_bytes().partition(b"?>")[2]
    (bundle / "waveglow.onnx").write_bytes(b"\n " + b"<!--".rjust(32) + b"\x7a" + varint(len(own)) + own)
    shutil.copy(tmp_path / "own.bin", bundle / "waveglow.bin")
    core.compile_model(bundle / "waveglow.onnx", "CPU")
    seal(bundle, "waveglow")
    with pytest.raises(BundleError, match="waveglow: input mel is float32 in the manifest, absent in the graph"):
        Synthesizer.load(bundle, "openvino", threads=1, compute="fp32")


def test_a_window_is_the_same_in_every_thread(tiny_bundle: Path) -> None:
    voice = Synthesizer.load(tiny_bundle, "openvino", threads=1)
    mel, options = mel_of(voice, 20), SpeechOptions().resolve(voice.manifest)
    alone = [voice.vocoder.samples(mel, Noise(seed), options) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: voice.vocoder.samples(mel, Noise(seed), options), range(8)))
    np.testing.assert_array_equal(together, alone)


@BUNDLES
def test_bfloat16_is_close(name: str, request: pytest.FixtureRequest) -> None:
    bundle: Path = request.getfixturevalue(name)
    exact, rounded = (Synthesizer.load(bundle, "openvino", threads=1, compute=compute) for compute in ("fp32", "auto"))
    mel = mel_of(exact, 40 if name == "tiny_bundle" else 200)
    whole, own = exact.vocode(mel).samples.astype(np.float64), rounded.vocode(mel).samples
    if rounded.backend.vocoder == WITHOUT_KERNELS:
        exact = Synthesizer.load(bundle, "onnxruntime", threads=1)
        np.testing.assert_array_equal(own, exact.vocode(mel).samples)
    else:
        # bfloat16 rounds by 1/512: 54 dB below each product, through a dozen layers.
        noise = np.sqrt(np.mean((own - whole) ** 2) / np.mean(whole**2))
        assert 0.0 < noise < 0.1


def run_alone(bundle: Path, home: Path, **variables: str) -> str:
    """The vocoder's precision with compute "auto" in a process of its own. home: the user's folder."""
    program = "import sys; from tacoglow import Synthesizer as S; print(S.load(sys.argv[1], 'openvino', compute='auto')"
    command = [sys.executable, "-c", f"{program}.backend.vocoder)", str(bundle)]
    environment = {**os.environ, "HOME": str(home), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_it_reports_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    """OpenVINO's telemetry writes an id into ~/intel before it reports anything."""
    run_alone(tiny_bundle, tmp_path)
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_without_kernels_for_bfloat16_it_is_float32(tiny_bundle: Path, tmp_path: Path, limit: str) -> None:
    assert run_alone(tiny_bundle, tmp_path, ONEDNN_MAX_CPU_ISA=limit) == WITHOUT_KERNELS
