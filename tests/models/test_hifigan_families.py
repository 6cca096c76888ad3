"""Every family's HiFi-GAN loads as jik876's does, and what cannot be used is refused in a sentence."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tacoglow.export.graphs import Graph, build_graphs
from tacoglow.export.to_onnx import write_onnx
from tacoglow.models import CheckpointError, Denoiser, HiFiGAN, Tacotron2, Tacotron2Config, load_hifigan
from tacoglow.models.safetensors_format import encode_model
from tacoglow.tests.models import hifigan_layouts as layouts
from tacoglow.tests.models.hifigan_layouts import PLANS, TINY, Plan, Write, golden_mel, weights
from tacoglow.tests.tolerances import HIFIGAN

needs_yaml = pytest.mark.skipif(importlib.util.find_spec("yaml") is None, reason="PyYAML is not installed")
FAMILIES: dict[str, tuple[Write, str]] = {
    "nvidia": (layouts.nvidia, "NVIDIA DeepLearningExamples"),
    "nvidia gen_ema, 2-D": (layouts.nvidia_ema_2d, "NVIDIA DeepLearningExamples"),
    "nemo": (layouts.nemo, "NVIDIA NeMo"),
    "coqui": (layouts.coqui, "Coqui TTS"),
    "coqui, old": (layouts.coqui_old, "Coqui TTS"),
    "speechbrain": (layouts.speechbrain, "SpeechBrain"),
}
BLOCK2 = PLANS["v3"] | {"upsample_initial_channel": 32}


def graph_bytes(model: HiFiGAN, folder: Path) -> bytes:
    tacotron2 = Tacotron2(Tacotron2Config(encoder_embedding_dim=8, symbols_embedding_dim=8, attention_rnn_dim=8))
    graphs: dict[str, Graph] = {graph.name: graph for graph in build_graphs(tacotron2, model, Denoiser(model), "fp32")}
    write_onnx(graphs["hifigan"], folder / "hifigan.onnx", "fp32")
    return (folder / "hifigan.onnx").read_bytes()


@pytest.mark.parametrize("plan", [TINY, BLOCK2], ids=["ResBlock1", "ResBlock2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_jik876s(family: str, plan: Plan, tmp_path: Path) -> None:
    """The same tensors, settings and, byte for byte, the same graph; SpeechBrain pads differently."""
    write, title = FAMILIES[family]
    if write in (layouts.nemo, layouts.speechbrain):
        pytest.importorskip("yaml")
    for name in ("theirs", "jik876"):
        (tmp_path / name).mkdir()
    expected = load_hifigan(layouts.jik876(tmp_path / "jik876", plan, weights(plan)))
    got = load_hifigan(write(tmp_path / "theirs", plan, weights(plan)))
    assert (got.family, expected.family) == (title, "jik876/hifi-gan")
    assert got.audio == expected.audio
    assert got.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(got.state_dict()[name], tensor), name
    if title == "SpeechBrain":
        assert got.config.padding_mode == "reflect"
        with torch.no_grad():
            middle = slice(13 * 256, -13 * 256)
            assert torch.allclose(got(golden_mel(30))[..., middle], expected(golden_mel(30))[..., middle], atol=HIFIGAN)
    else:
        assert got.config == expected.config
        assert graph_bytes(got, tmp_path) == graph_bytes(expected, tmp_path)


def renamed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def assert_same(got: HiFiGAN, expected: HiFiGAN) -> None:
    assert (got.config, got.audio) == (expected.config, expected.audio)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in got.state_dict().items())


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model.", "generator.", "task.vocoder."])
@pytest.mark.parametrize(
    "write", [layouts.jik876, layouts.nvidia, layouts.nemo, layouts.coqui, layouts.coqui_old, layouts.speechbrain]
)
def test_prefixes_change_nothing(write: Write, prefix: str, tmp_path: Path) -> None:
    """Tensors of the generator, and those beside it, below a common prefix."""
    if write in (layouts.nemo, layouts.speechbrain):
        pytest.importorskip("yaml")
    expected = load_hifigan(write(tmp_path, TINY, weights(TINY)))
    (tmp_path / "renamed").mkdir()
    save = torch.save

    def save_renamed(content: Any, *args: Any, **kwargs: Any) -> None:
        key = next((key for key in ("generator", "model") if isinstance(content.get(key), dict)), None)
        renamed_content = renamed(content, prefix) if key is None else {**content, key: renamed(content[key], prefix)}
        save(renamed_content, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", save_renamed)
        path = write(tmp_path / "renamed", TINY, weights(TINY))
    got = load_hifigan(path)
    assert got.family == expected.family
    assert_same(got, expected)


def test_lightning_task_with_discriminators(tmp_path: Path) -> None:
    """LightningModule: generator.…, its discriminators and a counter, below state_dict; config.json as jik876's."""
    expected = load_hifigan(layouts.jik876(tmp_path, TINY, weights(TINY)))
    others = {"mpd.discriminators.0.convs.0.weight_v": torch.ones(2, 2), "global_step": torch.tensor(5)}
    torch.save({"state_dict": renamed(weights(TINY), "generator.") | others, "epoch": 3}, tmp_path / "last.ckpt")
    got = load_hifigan(tmp_path / "last.ckpt")
    assert got.family == "jik876/hifi-gan"
    assert_same(got, expected)


def test_generator_inside_a_larger_model_is_not_taken_out(tmp_path: Path) -> None:
    """VITS has a HiFi-GAN that turns its own latents into audio: it is not a vocoder of mels."""
    layouts.jik876(tmp_path, TINY, weights(TINY))
    others = {"text_encoder.emb.weight": torch.ones(2, 2)}
    torch.save({"model": renamed(weights(TINY), "waveform_decoder.") | others}, tmp_path / "vits.pth")
    with pytest.raises(CheckpointError):
        load_hifigan(tmp_path / "vits.pth")


@pytest.mark.parametrize(
    ("data", "reason"), [(b'{"resblock": "1", // kind\n}', "not JSON"), (b"null", "expected settings by name")]
)
def test_config_that_cannot_be_read_is_called_that(data: bytes, reason: str, tmp_path: Path) -> None:
    path = layouts.jik876(tmp_path, TINY, weights(TINY))
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"its configuration, config\.json, cannot be read: {reason}"):
        load_hifigan(path)


@needs_yaml
@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"a: [1", "not YAML"), (b"- 1", "expected settings by name, got a list"), (b"#" * 100_000, "larger than 64 KiB")],
)
def test_yaml_that_cannot_be_read_is_called_that(data: bytes, reason: str, tmp_path: Path) -> None:
    path = layouts.speechbrain(tmp_path, TINY, weights(TINY))
    (tmp_path / "hyperparams.yaml").write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"its configuration, hyperparams\.yaml, cannot be read: .*{reason}"):
        load_hifigan(path)


def test_torchaudios_settings_are_in_its_code(tmp_path: Path) -> None:
    """A bare state dict of V3's shapes, without weight norm; its published settings are jik876's V3."""
    plan = PLANS["v3"]
    torch.save(layouts.fold(weights(plan)), tmp_path / "hifigan_vocoder_v3_ljspeech.pth")
    got = load_hifigan(tmp_path / "hifigan_vocoder_v3_ljspeech.pth")
    (tmp_path / "jik876").mkdir()
    expected = load_hifigan(layouts.jik876(tmp_path / "jik876", plan, weights(plan)))
    assert got.family == "torchaudio"
    assert (got.config, got.audio) == (expected.config, expected.audio)
    with torch.no_grad():
        assert torch.allclose(got(golden_mel(5)), expected(golden_mel(5)), atol=HIFIGAN)


def test_a_bare_state_dict_of_other_shapes_needs_a_config(tmp_path: Path) -> None:
    torch.save(layouts.fold(weights(TINY)), tmp_path / "generator.pth")
    with pytest.raises(CheckpointError, match="upsample_rates is not stated"):
        load_hifigan(tmp_path / "generator.pth")


def test_the_blocks_kind_is_that_of_the_weights(tmp_path: Path) -> None:
    """An integer 1 in jik876's config, or a string in NeMo's, silently trains ResBlock2."""
    path = layouts.jik876(tmp_path, {**BLOCK2, "resblock": 1}, weights(BLOCK2))
    assert load_hifigan(path).config.resblock == 2


def test_convert_keeps_the_model(tmp_path: Path) -> None:
    original = load_hifigan(layouts.jik876(tmp_path, TINY, weights(TINY)))
    content, description = encode_model(original, "hifigan")
    (tmp_path / "hifigan.safetensors").write_bytes(content)
    (tmp_path / "hifigan.json").write_bytes(description)
    copied = load_hifigan(tmp_path / "hifigan.safetensors")
    assert (copied.config, copied.audio, copied.family) == (original.config, original.audio, original.family)
    with torch.no_grad():
        assert torch.equal(copied(golden_mel(5)), original(golden_mel(5)))


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("cond_layer.weight", "speaker"),
        ("conds.0.weight", "speaker"),
        ("global_conv.weight", "speaker"),
        ("lin_pre.weight", "WavLM"),
        ("unit_embedding.weight", "units"),
        ("downsamples.0.weight", "pitch"),
        ("m_source.l_linear.weight", "pitch"),
        ("noise_convs.0.weight", "pitch"),
    ],
)
def test_extra_inputs_are_refused(key: str, word: str, tmp_path: Path) -> None:
    path = layouts.jik876(tmp_path, TINY, weights(TINY) | {key: torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match=f"also takes .*{word}"):
        load_hifigan(path)


def test_parallel_wavegan_is_refused(tmp_path: Path) -> None:
    state = {"input_conv.weight": torch.zeros(2, 80, 7), "upsamples.0.1.weight": torch.zeros(2, 1, 4)}
    torch.save({"model": {"generator": state}, "steps": 1}, tmp_path / "checkpoint-1steps.pkl")
    with pytest.raises(CheckpointError, match="log base 10, normalized"):
        load_hifigan(tmp_path / "checkpoint-1steps.pkl")


class TestAffineMels:
    """Mels of another scale: the model maps natural-log mels to them first."""

    def reference(self, folder: Path, mel: torch.Tensor) -> torch.Tensor:
        (folder / "plain").mkdir()
        model = load_hifigan(layouts.jik876(folder / "plain", TINY, weights(TINY)))
        with torch.no_grad():
            return torch.as_tensor(model(mel))

    def coqui(self, folder: Path, **audio: Any) -> HiFiGAN:
        path = layouts.coqui(folder, TINY, weights(TINY))
        (folder / "config.json").write_text(json.dumps(layouts.coqui_config(TINY, **audio)))
        return load_hifigan(path)

    def test_coqui_decibels(self, tmp_path: Path) -> None:
        """20 log10 of the magnitude, normalized as Coqui's AudioProcessor does, written out here."""
        settings = {"log_func": "np.log10", "spec_gain": 20, "signal_norm": True, "clip_norm": False}
        settings |= {"ref_level_db": 20, "min_level_db": -100, "max_norm": 4.0, "symmetric_norm": True}
        model, mel = self.coqui(tmp_path, **settings), golden_mel(5)
        decibels = 20 * torch.log10(torch.exp(mel.double())) - 20
        normalized = 2 * 4.0 * ((decibels + 100) / 100) - 4.0
        with torch.no_grad():
            got = model(mel)
        assert torch.allclose(got, self.reference(tmp_path, normalized.float()), rtol=0, atol=1e-4)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"signal_norm": True, "clip_norm": True}, "clip_norm: expected false, got true"),
            ({"signal_norm": True, "stats_path": "scale_stats.npy"}, "stats_path: expected null"),
            ({"log_func": "np.log2"}, "log_func: expected one of np.log, np.log10, got 'np.log2'"),
        ],
    )
    def test_coqui_settings_that_are_not_affine(self, settings: Plan, words: str, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=words):
            self.coqui(tmp_path, **settings)

    @pytest.mark.parametrize("normalizes", [True, False])
    def test_speecht5(self, normalizes: bool, tmp_path: Path) -> None:
        """(log10 of the magnitude - mean) / scale for each band, in transformers' layout."""
        generator = torch.Generator().manual_seed(1)
        mean, scale = torch.randn(80, generator=generator), torch.rand(80, generator=generator) + 0.5
        state = {name.replace("ups.", "upsampler."): value for name, value in layouts.fold(weights(TINY)).items()}
        torch.save(state | {"mean": mean, "scale": scale}, tmp_path / "pytorch_model.bin")
        config = {"model_in_dim": 80, "sampling_rate": 16000, "normalize_before": normalizes, "leaky_relu_slope": 0.1}
        (tmp_path / "config.json").write_text(json.dumps({**TINY, **config}))
        model, mel = load_hifigan(tmp_path / "pytorch_model.bin"), golden_mel(5)
        log10 = mel / math.log(10)
        theirs = (log10 - mean[:, None]) / scale[:, None] if normalizes else log10
        with torch.no_grad():
            got = model(mel)
        assert torch.allclose(got, self.reference(tmp_path, theirs), rtol=0, atol=1e-4)
        assert model.audio["mel_fmin"] == 80.0
