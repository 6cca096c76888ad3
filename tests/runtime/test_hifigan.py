"""A voice with HiFi-GAN: whole, in a batch and as a stream, on both CPU backends, and from a mel file."""

from __future__ import annotations

import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray

from tacoglow.cli.say import say
from tacoglow.models import CheckpointError, load_hifigan, load_tacotron2
from tacoglow.runtime.bundle.manifest import HiFiGANSettings
from tacoglow.runtime.bundle.reading import load_manifest
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.synthesizer import Synthesizer
from tacoglow.runtime.vocoder import Vocoder
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.tolerances import HIFIGAN, HIFIGAN_GRAPH

TEXT = "It was a bright cold day in April."
NEVER = SpeechOptions(gate_threshold=0.999999, max_frames=70)  # to the frame limit


@pytest.fixture(scope="module")
def voice(hifigan_bundle: Path) -> Synthesizer:
    return Synthesizer.load(hifigan_bundle, "onnxruntime", threads=1)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")


def test_manifest(hifigan_bundle: Path, tiny_hifigan: Path) -> None:
    manifest = load_manifest(hifigan_bundle)
    assert isinstance(manifest.vocoder, HiFiGANSettings)
    field = load_hifigan(tiny_hifigan).receptive_field_frames
    assert (manifest.vocoder.frames_before, manifest.vocoder.frames_after) == field
    assert manifest.synthesis.context_frames == max(field)
    assert manifest.graph_names == ("encoder", "decoder_step", "postnet", "hifigan", "denoiser")
    assert [tensor.name for tensor in manifest.graphs["hifigan"].inputs] == ["mel"]


@pytest.mark.parametrize("backend", ["onnxruntime", "torchscript"])
def test_speech_is_that_of_the_modules(
    backend: str, hifigan_bundle: Path, tiny_hifigan: Path, tiny_checkpoints: TinyCheckpoints
) -> None:
    voice = Synthesizer.load(hifigan_bundle, backend, threads=1)
    audio = voice.say(TEXT, seed=3, options=SpeechOptions(max_frames=40))
    tacotron2, ids = load_tacotron2(tiny_checkpoints.tacotron2), voice.front_end.encode(TEXT)
    with torch.no_grad():
        masks = torch.from_numpy(Noise(3).prenet_dropout(0, 40, 2, tacotron2.config.prenet_dim))[None]
        encoded = tacotron2.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
        decoded = tacotron2.decode(*encoded, masks)
        mel = tacotron2.postnet(decoded.mel, decoded.frames_decoded)
        expected = load_hifigan(tiny_hifigan)(mel)[0, 0].numpy()
    assert len(audio.samples) == int(decoded.mel_lengths[0]) * 256
    assert np.abs(audio.samples - expected[: len(audio.samples)]).max() < 20 * HIFIGAN_GRAPH  # through the decoder


@pytest.mark.parametrize("frames", [1, 2, 11, 300])
def test_graph_is_the_module(frames: int, voice: Synthesizer, tiny_hifigan: Path) -> None:
    mel = np.random.RandomState(frames).uniform(-11, 2, (16, frames)).astype(np.float32)
    with torch.no_grad():
        expected = load_hifigan(tiny_hifigan)(torch.from_numpy(mel)[None])[0, 0].numpy()
    assert np.abs(voice.vocode(mel).samples - expected).max() < HIFIGAN_GRAPH


@pytest.mark.parametrize("chunk", [3, 8, 17])
def test_a_stream_is_the_whole(chunk: int, voice: Synthesizer) -> None:
    """Bit for bit in float32 on the CPU, with the bundle's own context: the whole receptive field."""
    whole = voice.say(TEXT, options=NEVER).samples
    stream = voice.stream(TEXT, 0, StreamOptions(chunk, chunk), NEVER)
    assert np.array_equal(np.concatenate(list(stream)), whole)


def test_less_context_is_not_the_whole(voice: Synthesizer) -> None:
    whole = voice.say(TEXT, options=NEVER).samples
    stream = voice.stream(TEXT, 0, StreamOptions(8, 8, 2), NEVER)
    assert np.abs(np.concatenate(list(stream)) - whole).max() > 100 * HIFIGAN


@pytest.mark.parametrize("window", [7, 40, 200])
def test_windows_are_the_whole(window: int, voice: Synthesizer) -> None:
    mel = np.random.RandomState(0).uniform(-11, 2, (16, 150)).astype(np.float32)
    options = SpeechOptions().resolve(voice.manifest)
    got = Vocoder(voice.backend, window).samples(mel, Noise(0), options)
    assert np.abs(got - voice.vocode(mel).samples).max() <= HIFIGAN


def test_an_item_is_the_same_alone_and_in_a_batch(voice: Synthesizer) -> None:
    texts = [TEXT, "No.", "Speak to me."]
    options = SpeechOptions(max_frames=40)
    together = voice.say_batch(texts, [1, 2, 3], options)
    for text, seed, audio in zip(texts, (1, 2, 3), together, strict=True):
        assert np.array_equal(voice.say(text, seed, options).samples, audio.samples), text


def test_sigma_is_refused(voice: Synthesizer) -> None:
    with pytest.raises(RequestError, match=r"vocoder is HiFi-GAN, which takes no noise; leave sigma out, got 0\.6"):
        voice.say(TEXT, options=SpeechOptions(sigma=0.6))


def test_the_denoiser_is_off_by_default_and_works(voice: Synthesizer) -> None:
    plain, denoised = (
        voice.say(TEXT, options=SpeechOptions(max_frames=40)),
        voice.say(TEXT, options=SpeechOptions(denoise=0.005, max_frames=40)),
    )
    off = voice.say(TEXT, options=SpeechOptions(denoise=0.0, max_frames=40))
    assert np.array_equal(plain.samples, off.samples)
    difference = np.abs(plain.samples - denoised.samples).max()
    assert 0.0 < difference < 0.5 * np.abs(plain.samples).max()


def test_a_short_mel_of_a_reflecting_generator(hifigan_bundle: Path) -> None:
    """A mel shorter than reflection needs is extended by its last frame, and the samples cut."""
    voice = Synthesizer.load(hifigan_bundle, "onnxruntime", threads=1)
    settings = voice.manifest.vocoder
    assert isinstance(settings, HiFiGANSettings)
    reflecting = msgspec.structs.replace(voice.manifest, vocoder=msgspec.structs.replace(settings, min_frames=4))
    voice.backend.manifest = reflecting
    vocoder, mel = Vocoder(voice.backend), np.full((16, 2), -4.0, np.float32)
    got = vocoder.samples(mel, Noise(0), SpeechOptions().resolve(reflecting))
    assert np.array_equal(got, voice.vocode(np.full((16, 4), -4.0, np.float32)).samples[:512])


def infer(*arguments: object) -> None:
    """Call `trt-infer`; its exceptions pass through."""
    app = typer.Typer()
    app.command()(say)
    app([*map(str, arguments)], standalone_mode=False)


class TestVocoderOnly:
    @pytest.fixture
    def mel(self) -> NDArray[np.float32]:
        return np.random.RandomState(5).uniform(-11, 2, (16, 20)).astype(np.float32)

    @pytest.mark.parametrize("suffix", ["npy", "pt"])
    def test_a_file(
        self, suffix: str, mel: NDArray[np.float32], hifigan_bundle: Path, tmp_path: Path, voice: Synthesizer
    ) -> None:
        from scipy.io import wavfile

        path, out = tmp_path / f"mel.{suffix}", tmp_path / "out.wav"
        np.save(path, mel) if suffix == "npy" else torch.save(torch.from_numpy(mel)[None], path)
        infer(hifigan_bundle, "--vocoder-only", path, "-o", out, "--wav", "float32", "--backend", "onnxruntime")
        rate, samples = wavfile.read(out)
        assert rate == 16000
        assert np.abs(samples - voice.vocode(mel).samples).max() < HIFIGAN

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (np.zeros((80, 5), np.float32), r"mel: expected \[16, frames\] with at least 1 frame, got \[80, 5\]"),
            (np.zeros((16, 0), np.float32), "at least 1 frame"),
            (np.zeros((16, 321), np.float32), r"mel: expected at most 320 frames .*, got 321"),
            (np.full((16, 5), np.nan, np.float32), "NaN or Inf"),
            (np.zeros((16, 5), np.int64), "expected floats"),
            (np.zeros((2, 16, 5), np.float32), "expected floats"),
        ],
    )
    def test_a_mel_that_does_not_fit(
        self, content: NDArray[np.generic], words: str, hifigan_bundle: Path, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "mel.npy", content)
        with pytest.raises(RequestError, match=words):
            infer(hifigan_bundle, "--vocoder-only", tmp_path / "mel.npy", "-o", tmp_path / "out.wav")
        assert not (tmp_path / "out.wav").exists()

    def test_a_file_that_is_not_a_mel(self, hifigan_bundle: Path, tmp_path: Path) -> None:
        (tmp_path / "mel.npy").write_bytes(b"nothing")
        with pytest.raises(RequestError, match=r"mel\.npy: not a \.npy file"):
            infer(hifigan_bundle, "--vocoder-only", tmp_path / "mel.npy")
        (tmp_path / "mel.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match=r"mel\.pt: "):
            infer(hifigan_bundle, "--vocoder-only", tmp_path / "mel.pt")
        with pytest.raises(RequestError, match="no such file"):
            infer(hifigan_bundle, "--vocoder-only", tmp_path / "none.npy")
        with pytest.raises(RequestError, match="--vocoder-only: replaces the text"):
            infer(hifigan_bundle, "Hello.", "--vocoder-only", tmp_path / "mel.npy")
