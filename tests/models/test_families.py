"""Checkpoints of one model in the layout of every family export the same voice, bit for bit."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tacoglow.export.graphs import build_graphs
from tacoglow.export.to_onnx import write_onnx
from tacoglow.models import CheckpointError, Denoiser, Tacotron2, WaveGlow, load_tacotron2, load_waveglow
from tacoglow.models.checkpoint import read_checkpoint
from tacoglow.models.families.tacotron2 import unwrap
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tests.models import layouts

Save = Callable[[Any], Path]


@pytest.fixture(scope="module")
def acoustic(tiny_checkpoints: TinyCheckpoints) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(tiny_checkpoints.tacotron2)
    return content


@pytest.fixture(scope="module")
def vocoder(tiny_checkpoints: TinyCheckpoints) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(tiny_checkpoints.waveglow)
    return content


@pytest.fixture(scope="module")
def exported(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """exported(tacotron2=…) or exported(waveglow=…): the bytes of that model's ONNX graphs, by graph name."""
    tiny: dict[str, Any] = {
        "tacotron2": load_tacotron2(tiny_checkpoints.tacotron2),
        "waveglow": load_waveglow(tiny_checkpoints.waveglow),
    }

    def export(**models: Tacotron2 | WaveGlow) -> dict[str, bytes]:
        pair = {**tiny, **models}
        wanted = ("waveglow", "denoiser") if "waveglow" in models else ("encoder", "decoder_step", "postnet")
        graphs = build_graphs(pair["tacotron2"], pair["waveglow"], Denoiser(pair["waveglow"], 512), "fp32")
        folder = tmp_path_factory.mktemp("graphs")
        for graph in graphs:
            if graph.name in wanted:
                write_onnx(graph, folder / graph.name, "fp32")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    return export


@pytest.fixture(scope="module")
def acoustic_graphs(exported: Any, tiny_checkpoints: TinyCheckpoints) -> dict[str, bytes]:
    graphs: dict[str, bytes] = exported(tacotron2=load_tacotron2(tiny_checkpoints.tacotron2))
    return graphs


@pytest.fixture(scope="module")
def vocoder_graphs(exported: Any, tiny_checkpoints: TinyCheckpoints) -> dict[str, bytes]:
    graphs: dict[str, bytes] = exported(waveglow=load_waveglow(tiny_checkpoints.waveglow))
    return graphs


def save_nemo(state: Any, path: Path) -> Path:
    """Write a .nemo file: a tar of a configuration and the weights."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with tarfile.open(path, "w") as tar:
        for name, data in (
            ("./model_config.yaml", b"sample_rate: 22050\n"),
            ("./model_weights.ckpt", buffer.getvalue()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


class TestTacotron2:
    def test_deep_learning_examples(self, tiny_checkpoints: TinyCheckpoints) -> None:
        assert load_tacotron2(tiny_checkpoints.tacotron2).family == "NVIDIA DeepLearningExamples"

    @pytest.mark.parametrize("bare", [False, True])
    def test_nvidia_tacotron2(
        self, acoustic: Any, save: Save, exported: Any, acoustic_graphs: dict[str, bytes], bare: bool
    ) -> None:
        content = layouts.nvidia_tacotron2(acoustic)
        model = load_tacotron2(save(content["state_dict"] if bare else content))
        assert model.family == "NVIDIA/tacotron2"
        assert (model.config.max_decoder_steps, model.config.gate_threshold) == (1000, 0.5)
        assert exported(tacotron2=model) == acoustic_graphs

    def test_torchaudio(
        self,
        torchaudio_tacotron2: Callable[[Tacotron2], nn.Module],
        tiny_checkpoints: TinyCheckpoints,
        save: Save,
        exported: Any,
        acoustic_graphs: dict[str, bytes],
    ) -> None:
        theirs = torchaudio_tacotron2(load_tacotron2(tiny_checkpoints.tacotron2))
        model = load_tacotron2(save(theirs.state_dict()))
        assert (model.family, model.config.max_decoder_steps) == ("torchaudio", 2000)
        assert exported(tacotron2=model) == acoustic_graphs

    @pytest.mark.parametrize("tar", [False, True])
    def test_nemo(
        self, acoustic: Any, save: Save, exported: Any, acoustic_graphs: dict[str, bytes], tmp_path: Path, tar: bool
    ) -> None:
        state = layouts.nemo_tacotron2(acoustic)
        model = load_tacotron2(save_nemo(state, tmp_path / "voice.nemo") if tar else save({"state_dict": state}))
        assert model.family == "NVIDIA NeMo"
        assert exported(tacotron2=model) == acoustic_graphs

    def test_coqui(self, acoustic: Any, save: Save, exported: Any) -> None:
        theirs, ours = layouts.coqui(acoustic)
        model = load_tacotron2(save(theirs))
        assert model.family == "Coqui TTS"
        assert model.audio == {"sampling_rate": 22050}
        assert exported(tacotron2=model) == exported(tacotron2=load_tacotron2(save(ours)))

    def test_coqui_reads_the_adjacent_config(self, acoustic: Any, save: Save) -> None:
        theirs, _ = layouts.coqui(acoustic)
        theirs.pop("config")
        path = save(theirs)
        with pytest.raises(CheckpointError, match=r"config does not state attention_norm; put its config\.json"):
            load_tacotron2(path)
        (path.parent / "config.json").write_text('{"attention_norm": "sigmoid"}')
        with pytest.raises(CheckpointError, match="attention_norm: expected 'softmax' as in NVIDIA's, got 'sigmoid'"):
            load_tacotron2(path)

    @pytest.mark.parametrize(
        ("section", "name", "value"),
        [
            (None, "use_forward_attn", True),
            (None, "prenet_type", "bn"),
            (None, "r", 2),
            ("audio", "signal_norm", True),
            ("audio", "log_func", "np.log10"),
            ("audio", "spec_gain", 20),
        ],
    )
    def test_coqui_with_other_settings_is_rejected(
        self, acoustic: Any, save: Save, section: str | None, name: str, value: Any
    ) -> None:
        theirs, _ = layouts.coqui(acoustic)
        (theirs["config"][section] if section else theirs["config"])[name] = value
        with pytest.raises(CheckpointError, match=rf"{name}: expected .* as in NVIDIA's, got {value!r}"):
            load_tacotron2(save(theirs))

    def test_coqui_with_other_modules_is_rejected(self, acoustic: Any, save: Save) -> None:
        theirs, _ = layouts.coqui(acoustic)
        theirs["model"]["gst_layer.encoder.convs.0.weight"] = torch.zeros(2, 2)
        with pytest.raises(CheckpointError, match="with global style tokens, which is not supported"):
            load_tacotron2(save(theirs))


ERAS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "res_layers and skip_layers": layouts.split_residuals,
    "cond_layers": dict,
    "one cond_layer": layouts.fuse_conditions,
}


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # which torch's older format saves with a class
class TestWaveGlow:
    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    @pytest.mark.parametrize("era", ERAS)
    def test_pickled_model(
        self, vocoder: Any, exported: Any, vocoder_graphs: dict[str, bytes], tmp_path: Path, era: str, legacy: bool
    ) -> None:
        path = tmp_path / "waveglow.pt"
        with layouts.waveglow_module() as glow:
            content = layouts.nvidia_waveglow(layouts.waveglow_model(glow, ERAS[era](vocoder["state_dict"])))
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        model = load_waveglow(path)
        assert model.family == f"NVIDIA/waveglow (pickled model with {era})"
        assert exported(waveglow=model) == vocoder_graphs

    @pytest.mark.parametrize("era", ERAS)
    def test_state_dict(
        self, vocoder: Any, save: Save, exported: Any, vocoder_graphs: dict[str, bytes], era: str
    ) -> None:
        model = load_waveglow(save(ERAS[era](vocoder["state_dict"])))
        assert model.family == f"NVIDIA/waveglow (state dict with {era})"
        assert exported(waveglow=model) == vocoder_graphs

    def test_weight_norm_removed(self, vocoder: Any, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        """Weights folded by remove_weightnorm in float32 differ only by rounding from those folded in float64."""
        state = dict(vocoder["state_dict"])
        for key in [key for key in state if key.endswith("weight_g")]:
            stem = key.removesuffix("_g")
            state[stem] = torch._weight_norm(state.pop(stem + "_v"), state.pop(key), 0)
        with layouts.waveglow_module() as glow:
            torch.save(layouts.nvidia_waveglow(layouts.waveglow_model(glow, state)), tmp_path / "waveglow.pt")
        expected = load_waveglow(tiny_checkpoints.waveglow).state_dict()
        torch.testing.assert_close(load_waveglow(tmp_path / "waveglow.pt").state_dict(), expected, rtol=0.0, atol=1e-6)

    def test_nemo(self, vocoder: Any, save: Save, exported: Any, vocoder_graphs: dict[str, bytes]) -> None:
        model = load_waveglow(save(layouts.nemo_waveglow(vocoder)))
        assert model.family == "NVIDIA NeMo"
        assert exported(waveglow=model) == vocoder_graphs

    def test_distributed_model(self, vocoder: Any, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        with layouts.waveglow_module() as glow:
            model = layouts.waveglow_model(glow, vocoder["state_dict"], stride=128)
            torch.save({"model": nn.DataParallel(model)}, tmp_path / "waveglow.pt")
        loaded = load_waveglow(tmp_path / "waveglow.pt")
        assert loaded.config.upsample_stride == 128
        expected = load_waveglow(tiny_checkpoints.waveglow).state_dict()
        torch.testing.assert_close(loaded.state_dict(), expected, rtol=0.0, atol=0.0)

    def test_hop_argument_is_used_if_the_file_states_none(self, vocoder: Any, save: Save) -> None:
        path = save(vocoder["state_dict"])
        assert load_waveglow(path).config.upsample_stride == 256
        assert load_waveglow(path, hop_length=128).config.upsample_stride == 128

    def test_glow_old_is_rejected(self, vocoder: Any, tmp_path: Path) -> None:
        with layouts.waveglow_module("glow_old") as glow:
            torch.save({"model": layouts.waveglow_model(glow, vocoder["state_dict"])}, tmp_path / "waveglow_old.pt")
        with pytest.raises(CheckpointError, match=r"a WaveGlow of glow_old\.py, whose flow alternates"):
            load_waveglow(tmp_path / "waveglow_old.pt")

    def test_fused_layer_with_wrong_row_count_is_rejected(self, vocoder: Any, save: Save) -> None:
        state = layouts.fuse_conditions(vocoder["state_dict"])
        state["WN.1.cond_layer.bias"] = torch.zeros(33)
        with pytest.raises(CheckpointError, match=r"WN\.1\.cond_layer\.bias: \[33\] cannot be split into 2 layers"):
            load_waveglow(save(state))


class TestRejectedFiles:
    def test_other_model(self, tiny_checkpoints: TinyCheckpoints) -> None:
        with pytest.raises(
            CheckpointError, match=r"expected a tacotron2 checkpoint, got waveglow \(.*\); give it as --waveglow"
        ):
            load_tacotron2(tiny_checkpoints.waveglow)
        with pytest.raises(
            CheckpointError, match=r"expected a waveglow checkpoint, got tacotron2 \(.*\); give it as --tacotron2"
        ):
            load_waveglow(tiny_checkpoints.tacotron2)

    def test_unknown_network(self, save: Save) -> None:
        path = save({"model": nn.Linear(2, 2)})
        with pytest.raises(CheckpointError, match="of a known family, got tensors weight, bias"):
            read_checkpoint(path)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_torchscript_module(self, tmp_path: Path) -> None:
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "model.pt")
        with pytest.raises(CheckpointError, match="a TorchScript program, which cannot be read without running it"):
            load_waveglow(tmp_path / "model.pt")

    def test_tar_without_a_checkpoint(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "model.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        with pytest.raises(CheckpointError, match=r"a tar file without model_weights\.ckpt"):
            load_waveglow(tmp_path / "model.tar")


def coqui_acoustic(acoustic: Any) -> Any:
    return layouts.coqui(acoustic)[0]


ACOUSTIC: dict[str, Callable[[Any], Any]] = {
    "NVIDIA DeepLearningExamples": dict,
    "NVIDIA/tacotron2": layouts.nvidia_tacotron2,
    "torchaudio": lambda acoustic: {unwrap(key): value for key, value in acoustic["state_dict"].items()},
    "NVIDIA NeMo": lambda acoustic: {"state_dict": layouts.nemo_tacotron2(acoustic)},
    "Coqui TTS": coqui_acoustic,
}


def state_dict_of(era: str) -> Callable[[Any], Any]:
    return lambda vocoder: ERAS[era](vocoder["state_dict"])


VOCODER: dict[str, Callable[[Any], Any]] = {
    "NVIDIA DeepLearningExamples": dict,
    **{f"NVIDIA/waveglow (state dict with {era})": state_dict_of(era) for era in ERAS},
    "NVIDIA NeMo": layouts.nemo_waveglow,
}
# What libraries put before the names of all tensors.
PREFIXES = {
    "torch.compile": "_orig_mod.",
    "torch.compile of DataParallel": "_orig_mod.module.",
    "DistributedDataParallel of torch.compile": "module._orig_mod.",
    "FSDP": "_fsdp_wrapped_module.",
    "Lightning": "model.",
    "Lightning, generator": "generator.",
    "nested": "task.my_network.",
}


def with_names(content: Any, rename: Callable[[str], str], **others: Any) -> Any:
    """Return the content with its state dict's names changed and further entries in the state dict."""
    key = next((key for key in ("state_dict", "model") if key in content), None)
    state = {rename(name): value for name, value in (content if key is None else content[key]).items()} | others
    return state if key is None else {**content, key: state}


def assert_loads_as(got: Tacotron2 | WaveGlow, expected: Tacotron2 | WaveGlow) -> None:
    assert (got.family, got.config, got.audio) == (expected.family, expected.config, expected.audio)
    weights = expected.state_dict()
    assert got.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in got.state_dict().items())


class TestWrappedModels:
    """The same model, whatever a training library wrote before the names of its tensors or among them.

    bfs18/rfwave#10, timm#2003 (torch.compile); Lightning#4792 (its names); Lightning#20545 (averages).
    """

    @pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
    @pytest.mark.parametrize("family", ACOUSTIC)
    def test_prefix_of_a_tacotron2(self, acoustic: Any, save: Save, family: str, prefix: str) -> None:
        content = ACOUSTIC[family](acoustic)
        expected = load_tacotron2(save(content))
        assert expected.family == family
        assert_loads_as(load_tacotron2(save(with_names(content, lambda name: prefix + name))), expected)

    @pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
    @pytest.mark.parametrize("family", VOCODER)
    def test_prefix_of_a_waveglow(self, vocoder: Any, save: Save, family: str, prefix: str) -> None:
        content = VOCODER[family](vocoder)
        expected = load_waveglow(save(content))
        assert expected.family == family
        assert_loads_as(load_waveglow(save(with_names(content, lambda name: prefix + name))), expected)

    def test_compiled_parts(self, acoustic: Any, save: Save) -> None:
        """torch.compile(model.decoder) writes its wrapper into the middle of names."""
        parts = with_names(acoustic, lambda name: name.replace("decoder.", "decoder._orig_mod.", 1))
        assert_loads_as(load_tacotron2(save(parts)), load_tacotron2(save(acoustic)))

    def test_model_beside_a_loss_and_a_discriminator(self, acoustic: Any, save: Save) -> None:
        others = {"loss.mel_weight": torch.ones(3), "discriminator.conv.weight": torch.ones(2, 2)}
        task = with_names(acoustic, lambda name: f"model.{name}", **others)
        assert_loads_as(load_tacotron2(save(task)), load_tacotron2(save(acoustic)))

    @pytest.mark.parametrize("family", ACOUSTIC)
    def test_averaged_tacotron2(self, acoustic: Any, save: Save, family: str) -> None:
        content = ACOUSTIC[family](acoustic)
        averaged = with_names(content, lambda name: f"module.{name}", n_averaged=torch.tensor(7))
        assert_loads_as(load_tacotron2(save(averaged)), load_tacotron2(save(content)))

    def test_averaged_by_torch(self, vocoder: Any, save: Save, tiny_checkpoints: TinyCheckpoints) -> None:
        """AveragedModel of the loaded module: its state dict has folded weights, and its counter."""
        plain = load_waveglow(tiny_checkpoints.waveglow)
        averaged = torch.optim.swa_utils.AveragedModel(plain)
        averaged.update_parameters(plain)
        loaded = load_waveglow(save(averaged.state_dict()), plain.config.upsample_stride)
        assert_loads_as_weights(loaded, plain)

    @pytest.mark.parametrize(
        "strays",
        [
            {"encoder.convolutions.0.1.num_batches_tracked": torch.tensor(9)},
            {"encoder.convolutions.1.1.num_batches_tracked": torch.tensor(9.5)},
            {"global_step": torch.tensor([12_000])},
            {"decoder.position_ids": torch.arange(512)[None]},
            {"encoder.mask": torch.ones(5, dtype=torch.bool)},
            {"encoder._extra_state": None, "epoch": 3, "best": 0.5},
        ],
        ids=lambda strays: next(iter(strays)),
    )
    def test_entries_that_are_not_weights(self, acoustic: Any, save: Save, strays: dict[str, Any]) -> None:
        content = with_names(acoustic, str, **strays)
        assert_loads_as(load_tacotron2(save(content)), load_tacotron2(save(acoustic)))

    def test_pickled_compiled_waveglow(self, vocoder: Any, tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> None:
        with layouts.waveglow_module() as glow:
            model = layouts.waveglow_model(glow, vocoder["state_dict"], stride=128)
            wrapper = nn.Module()
            wrapper.add_module("_orig_mod", nn.DataParallel(model))
            torch.save({"model": wrapper}, tmp_path / "waveglow.pt")
        loaded = load_waveglow(tmp_path / "waveglow.pt")
        assert loaded.config.upsample_stride == 128
        assert_loads_as_weights(loaded, load_waveglow(tiny_checkpoints.waveglow))

    def test_glow_old_in_data_parallel_is_rejected(self, vocoder: Any, tmp_path: Path) -> None:
        with layouts.waveglow_module("glow_old") as glow:
            model = layouts.waveglow_model(glow, vocoder["state_dict"])
            torch.save({"model": nn.DataParallel(model)}, tmp_path / "waveglow_old.pt")
        with pytest.raises(CheckpointError, match=r"a WaveGlow of glow_old\.py, whose flow alternates"):
            load_waveglow(tmp_path / "waveglow_old.pt")


def assert_loads_as_weights(got: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(got.state_dict(), expected.state_dict(), rtol=0.0, atol=0.0)


class TestConditionedModels:
    """Models that need more than a text are named as such, not as a list of tensors."""

    @pytest.mark.parametrize(
        ("name", "feature"),
        [
            ("gst.encoder.convs.0.weight", "global style tokens"),  # NVIDIA/mellotron
            ("gst.stl.embed", "global style tokens"),
            ("speaker_embedding.weight", "several speakers"),
            ("decoder.spk_projection.weight", "several speakers"),
            ("embed_speakers.weight", "several speakers"),
            ("language_embedding.weight", "several languages"),
            ("emotion_embedding.weight", "several styles"),
        ],
    )
    @pytest.mark.parametrize("prefix", ["", "module.", "model."])
    def test_feature_is_named(self, acoustic: Any, save: Save, name: str, feature: str, prefix: str) -> None:
        content = layouts.nvidia_tacotron2(acoustic)
        content["state_dict"][name] = torch.zeros(2, 2)
        path = save(with_names(content, lambda key: prefix + key))
        with pytest.raises(CheckpointError) as raised:
            load_tacotron2(path)
        assert str(raised.value) == (
            f"{path}: a tacotron2 with {feature} ({prefix}{name}), which is not supported; "
            "use a checkpoint of one speaker and one style"
        )

    def test_speaker_embedding_of_another_file(self, acoustic: Any, save: Save) -> None:
        """Embeddings that come from a speaker encoder leave only their width in the weights."""
        content = layouts.nvidia_tacotron2(acoustic)
        for name in ("decoder.attention_layer.memory_layer.linear_layer.weight", "decoder.attention_rnn.weight_ih"):
            value = content["state_dict"][name]
            content["state_dict"][name] = torch.cat([value, torch.zeros(len(value), 64)], 1)
        with pytest.raises(CheckpointError, match="the others are an embedding of a speaker or a style"):
            load_tacotron2(save(content))

    def test_waveglow_with_speakers(self, vocoder: Any, save: Save) -> None:
        state = {**vocoder["state_dict"], "speaker_embedding.weight": torch.zeros(2, 2)}
        with pytest.raises(CheckpointError, match=r"a waveglow with several speakers \(speaker_embedding\.weight\)"):
            load_waveglow(save(state))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"attention_norm": "softmax",  // as in the paper\n}', r"not JSON: .*line 1"),
        (b'{"attention_norm": "softmax",', "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "expected settings by name, got a list"),
        (b"[" * 100_000, ".* nested too deeply"),
    ],
)
def test_config_that_cannot_be_read_is_called_that(acoustic: Any, save: Save, data: bytes, reason: str) -> None:
    content = coqui_acoustic(acoustic)
    content.pop("config")
    path = save(content)
    (path.parent / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"its configuration, config\.json, cannot be read: {reason}") as raised:
        load_tacotron2(path)
    assert str(raised.value).endswith("; correct it, or put the model's own there")
    assert "\n" not in str(raised.value)


def test_unreadable_config_does_not_matter_beside_one_in_the_file(acoustic: Any, save: Save) -> None:
    path = save(coqui_acoustic(acoustic))
    (path.parent / "config.json").write_text("// not needed")
    assert load_tacotron2(path).family == "Coqui TTS"
