"""torch.hub's entry points, loaded as users load them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tacoglow.hubconf
from tacoglow.models import CheckpointError, Tacotron2Config
from tacoglow.tests.models.hifigan_layouts import golden_mel
from tacoglow.text import text_to_sequence

ROOT = Path(__file__).resolve().parents[2]

# The example of NVIDIA's model page, with this repository in place of NVIDIA's and the CPU in place of the GPU. It
# begins by hiding tacoglow from the import system, as on a machine where it is not installed.
EXAMPLE = """
import importlib.util, sys

class Hidden:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, *args):
        return None if name == "tacoglow" else self.finder.find_spec(name, *args)

sys.meta_path[:] = map(Hidden, sys.meta_path)
assert importlib.util.find_spec("tacoglow") is None

import torch
import numpy as np
from scipy.io.wavfile import write

tacotron2 = torch.hub.load(sys.argv[1], 'nvidia_tacotron2', source='local')
tacotron2 = tacotron2.cpu()
tacotron2.eval()

waveglow = torch.hub.load(sys.argv[1], 'nvidia_waveglow', source='local')
waveglow = waveglow.remove_weightnorm(waveglow)
waveglow = waveglow.cpu()
waveglow.eval()

text = "hello world, I missed you"
sequence = np.array(tacotron2.text_to_sequence(text, ['english_cleaners']))[None, :]
sequence = torch.from_numpy(sequence).cpu().long()

with torch.no_grad():
    _, mel, _, _ = tacotron2.infer(sequence)
    audio = waveglow.infer(mel)

write("audio.wav", 22050, audio[0].data.cpu().numpy())
assert audio.shape == (1, mel.shape[2] * 256)
"""


def hub(entry: str, **kwargs: Any) -> Any:
    return torch.hub.load(str(ROOT), entry, source="local", **kwargs)  # type: ignore[no-untyped-call]


@pytest.mark.full
def test_published_example_without_tacoglow_installed(registry: Any, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"}  # one thread: the models are tiny
    command = [sys.executable, "-c", EXAMPLE, str(ROOT)]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "audio.wav").stat().st_size > 256 * 4
    assert len(registry.requests) == 2
    assert "nvidia_waveglowpyt_fp32_20190427" in ran.stderr  # the progress bar


def test_hub_lists_only_the_entry_points() -> None:
    """torch.hub.list shows every callable of hubconf without an underscore."""
    shown = [name for name, value in vars(tacoglow.hubconf).items() if callable(value) and not name.startswith("_")]
    assert sorted(shown) == ["nvidia_hifigan", "nvidia_tacotron2", "nvidia_tts_utils", "nvidia_waveglow"]
    assert all(getattr(tacoglow.hubconf, name).__doc__ for name in shown)


class TestPretrained:
    def test_fp16_uses_the_mixed_precision_checkpoint(self, registry: Any) -> None:
        for entry, name in (
            ("nvidia_tacotron2", "tacotron2_pyt_ckpt_amp"),
            ("nvidia_waveglow", "waveglow_ckpt_amp"),
        ):
            model = hub(entry, model_math="fp16")
            assert name in registry.requests[-1]
            assert {value.dtype for value in model.parameters()} == {torch.float16}
            assert not model.training

    def test_limits_are_accepted(self, registry: Any) -> None:
        model = hub("nvidia_tacotron2", max_decoder_steps=3, gate_threshold=0.99)
        assert (model.config.max_decoder_steps, model.config.gate_threshold) == (3, 0.99)
        assert model.infer(torch.tensor([[1, 2, 3]]))[1].shape[2] == 3

    def test_force_reload_downloads_again(self, registry: Any) -> None:
        for force in (False, False, True):
            tacoglow.hubconf.nvidia_waveglow(force_reload=force)
        assert len(registry.requests) == 2

    def test_dimensions_are_rejected(self, registry: Any) -> None:
        with pytest.raises(
            TypeError, match=r"nvidia_tacotron2 with trained weights does not accept keyword 'n_symbols'"
        ):
            hub("nvidia_tacotron2", n_symbols=100)
        with pytest.raises(TypeError, match=r"nvidia_waveglow with trained weights does not accept keyword 'n_flows'"):
            hub("nvidia_waveglow", n_flows=4)
        assert registry.requests == []


class TestOwnCheckpoints:
    def test_checkpoint_is_loaded(self, content: Callable[..., Any], save: Callable[[Any], Path]) -> None:
        speaker = hub("nvidia_tacotron2", pretrained=False, checkpoint=save(content("tacotron2")))
        vocoder = hub("nvidia_waveglow", pretrained=False, checkpoint=str(save(content("waveglow"))))
        assert speaker.config.prenet_dim == 8
        assert vocoder.config.n_flows == 4

    def test_checkpoint_needs_pretrained_false(self, registry: Any) -> None:
        with pytest.raises(TypeError, match="needs pretrained=False"):
            hub("nvidia_tacotron2", checkpoint="my.pt")
        assert registry.requests == []

    def test_missing_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no such file"):
            hub("nvidia_waveglow", pretrained=False, checkpoint=tmp_path / "none.pt")

    def test_random_tacotron2_of_other_dimensions(self) -> None:
        small = {
            "encoder_embedding_dim": 8,
            "symbols_embedding_dim": 8,
            "attention_rnn_dim": 8,
            "decoder_rnn_dim": 8,
        }
        model = hub("nvidia_tacotron2", pretrained=False, n_symbols=20, postnet_embedding_dim=8, **small)
        assert model.embedding.weight.shape == (20, 8)
        assert model.config.prenet_dim == Tacotron2Config().prenet_dim
        assert model.text_to_sequence("hello", ["english_cleaners"]) == text_to_sequence("hello", ["english_cleaners"])

    def test_random_waveglow_of_other_dimensions(self) -> None:
        model = hub(
            "nvidia_waveglow",
            pretrained=False,
            n_flows=2,
            n_layers=3,
            n_channels=4,
            n_mel_channels=5,
            model_math="fp16",
        )
        config = model.config
        assert (config.n_flows, config.WN_config.n_layers, config.WN_config.n_channels) == (2, 3, 4)
        assert config.WN_config.kernel_size == 3
        assert model.upsample.weight.dtype == torch.float16
        assert model.upsample.weight.shape == (5, 5, 1024)


class TestKeywords:
    def test_unknown_keyword_is_named_with_the_accepted_ones(self) -> None:
        with pytest.raises(
            TypeError, match=r"does not accept keyword 'n_symbol'; accepted keywords: model_math, .*, n_symbols, "
        ):
            hub("nvidia_tacotron2", pretrained=False, n_symbol=20)
        with pytest.raises(
            TypeError,
            match=r"does not accept keyword 'WN_config'; accepted keywords: .* n_layers, n_channels, kernel_size",
        ):
            hub("nvidia_waveglow", pretrained=False, WN_config={})

    def test_nvidias_training_keywords_are_accepted(self, registry: Any) -> None:
        hub("nvidia_tacotron2", p_attention_dropout=0.1, p_decoder_dropout=0.1, mask_padding=True)

    def test_values_of_keywords_are_checked(self) -> None:
        with pytest.raises(CheckpointError, match=r"nvidia_tacotron2: config 'n_symbols' should be a number"):
            hub("nvidia_tacotron2", pretrained=False, n_symbols="148")

    def test_unknown_model_math_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="model_math should be 'fp32' or 'fp16', got 'int8'"):
            hub("nvidia_waveglow", model_math="int8")


@pytest.fixture(scope="module")
def utils() -> Any:
    return hub("nvidia_tts_utils")


class TestUtils:
    def test_prepare_input_sequence_sorts_and_pads(self, utils: Any) -> None:
        texts = ["Hi.", "Hello world, I missed you.", "Oh!"]
        padded, lengths = utils.prepare_input_sequence(texts, cpu_run=True)
        longest_first = [texts[1], texts[0], texts[2]]
        for row, length, text in zip(padded, lengths, longest_first, strict=True):
            ids = utils.text_to_sequence(text, ["english_cleaners"])
            assert ids == text_to_sequence(text, ["english_cleaners"])
            assert row.tolist() == ids + [0] * (padded.shape[1] - len(ids))
            assert int(length) == len(ids)
        assert padded.dtype == lengths.dtype == torch.int64

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
    def test_tensors_are_on_the_cpu_without_a_gpu(self, utils: Any) -> None:
        padded, lengths = utils.prepare_input_sequence(["Hello."])
        assert padded.device.type == lengths.device.type == "cpu"

    @settings(deadline=None)  # a busy machine must not fail the test
    @given(st.lists(st.lists(st.integers(1, 147), min_size=1, max_size=9), min_size=1, max_size=6))
    def test_pad_sequences_sorts_and_pads(self, utils: Any, batch: list[list[int]]) -> None:
        padded, lengths = utils.pad_sequences([torch.tensor(item, dtype=torch.int32) for item in batch])
        assert lengths.tolist() == sorted(map(len, batch), reverse=True)
        rows = [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)]
        assert rows == sorted(batch, key=len, reverse=True)
        assert padded.shape == (len(batch), max(map(len, batch)))
        assert int((padded != 0).sum()) == int(lengths.sum())

    @pytest.mark.parametrize("texts", [[], ["Hello.", ""]])
    def test_empty_texts_are_rejected(self, utils: Any, texts: list[str]) -> None:
        with pytest.raises(ValueError, match="at least one token"):
            utils.prepare_input_sequence(texts)


class TestHiFiGAN:
    def test_the_example_of_nvidias_page(self, registry: Any) -> None:
        """Its lines, with the CPU in place of the GPU; golden_mel in place of FastPitch."""
        hifigan, vocoder_train_setup, denoiser = tacoglow.hubconf.nvidia_hifigan()
        denoising_strength = 0.005
        assert denoiser is not None
        with torch.no_grad():
            audios = hifigan(golden_mel(12)).float()
            audios = denoiser(audios.squeeze(1), denoising_strength)
            audios = audios.squeeze(1) * vocoder_train_setup["max_wav_value"]
        assert audios.shape == (1, 12 * 256)
        assert (vocoder_train_setup["sampling_rate"], vocoder_train_setup["num_mels"]) == (22050, 80)
        assert hifigan.family == "NVIDIA DeepLearningExamples"

    def test_random_weights_have_no_denoiser(self) -> None:
        hifigan, setup, denoiser = tacoglow.hubconf.nvidia_hifigan(pretrained=False, upsample_initial_channel=32)
        assert denoiser is None
        assert hifigan.config.upsample_initial_channel == 32
        assert setup["hop_length"] == 256

    def test_half_precision_keeps_the_denoiser_in_float32(self, registry: Any) -> None:
        hifigan, _, denoiser = tacoglow.hubconf.nvidia_hifigan(model_math="fp16")
        assert denoiser is not None
        assert hifigan.conv_pre.weight.dtype == torch.float16
        assert denoiser.bias_magnitude.dtype == torch.float32

    def test_an_unknown_keyword(self) -> None:
        with pytest.raises(TypeError, match="nvidia_hifigan with random weights does not accept keyword 'channels'"):
            tacoglow.hubconf.nvidia_hifigan(pretrained=False, channels=3)
