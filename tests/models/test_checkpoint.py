"""Reading checkpoints: every accepted layout gives the same model, and every broken file gives one clear error."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tacoglow.models import CheckpointError, WaveGlow, load_tacotron2, load_waveglow

Content = Callable[..., dict[str, Any]]
Save = Callable[[Any], Path]

LOADERS: dict[str, Callable[[Path], torch.nn.Module]] = {
    "tacotron2": load_tacotron2,
    "waveglow": load_waveglow,
}
MODELS = pytest.mark.parametrize("model", list(LOADERS))


def weights_of(path: Path, model: str) -> dict[str, Tensor]:
    return LOADERS[model](path).state_dict()


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 0.0) -> None:
    torch.testing.assert_close(got, expected, rtol=0.0, atol=tolerance)


def error_of(load: Callable[[Path], Any], path: Path) -> str:
    """Return the error message without the path; check that it is one line that begins with the path."""
    with pytest.raises(CheckpointError) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def with_frames_per_step(checkpoint: dict[str, Any], r: int) -> dict[str, Any]:
    """Widen the decoder's input and output layers of a Tacotron 2 checkpoint to r frames."""
    state, end = checkpoint["state_dict"], "decoder.linear_projection.linear_layer"
    for name, axis in ((f"{end}.weight", 0), (f"{end}.bias", 0), ("decoder.prenet.layers.0.linear_layer.weight", 1)):
        state[name] = torch.cat([state[name]] * r, axis)
    return checkpoint


class TestLayouts:
    @MODELS
    @pytest.mark.parametrize("prefix", ["module.", "module.1.", "module.module."])
    def test_distributed_prefixes_are_removed(self, content: Content, save: Save, model: str, prefix: str) -> None:
        plain = content(model)
        wrapped = plain | {"state_dict": {prefix + key: value for key, value in plain["state_dict"].items()}}
        assert_same(weights_of(save(wrapped), model), weights_of(save(plain), model))

    @MODELS
    def test_half_precision_weights_become_float32(self, content: Content, save: Save, model: str) -> None:
        halved, rounded = content(model), content(model)
        for key, value in halved["state_dict"].items():
            if value.is_floating_point():
                halved["state_dict"][key] = value.half()
                rounded["state_dict"][key] = value.half().float()
        loaded = weights_of(save(halved), model)
        assert all(value.dtype != torch.float16 for value in loaded.values())
        assert_same(loaded, weights_of(save(rounded), model))

    def test_folded_weight_norm_gives_the_same_model(self, content: Content, save: Save) -> None:
        checkpoint = content("waveglow")
        expected = weights_of(save(checkpoint), "waveglow")
        state = checkpoint["state_dict"]
        for key in [key for key in state if key.endswith("weight_g")]:
            stem = key.removesuffix("_g")
            state[stem] = torch._weight_norm(state.pop(stem + "_v"), state.pop(key), 0)
        # torch multiplies in float32, the loader in float64
        assert_same(weights_of(save(checkpoint), "waveglow"), expected, tolerance=1e-6)

    def test_weight_norm_parametrization_gives_the_same_model(self, content: Content, save: Save) -> None:
        checkpoint = content("waveglow")
        expected = weights_of(save(checkpoint), "waveglow")
        names = {
            "weight_g": "parametrizations.weight.original0",
            "weight_v": "parametrizations.weight.original1",
        }
        renamed = {
            re.sub(r"weight_[gv]$", lambda found: names[found[0]], key): value
            for key, value in checkpoint["state_dict"].items()
        }
        assert renamed.keys() != checkpoint["state_dict"].keys()
        assert_same(weights_of(save(checkpoint | {"state_dict": renamed}), "waveglow"), expected)

    @MODELS
    def test_older_file_format_gives_the_same_model(
        self, content: Content, tmp_path: Path, save: Save, model: str
    ) -> None:
        path = tmp_path / "legacy.pt"
        torch.save(content(model), path, _use_new_zipfile_serialization=False)
        assert_same(weights_of(path, model), weights_of(save(content(model)), model))

    @MODELS
    def test_other_training_state_is_ignored(self, content: Content, save: Save, model: str) -> None:
        plain = content(model)
        complete = plain | {
            "epoch": 1500,
            "optimizer": {
                "state": {0: {"step": 5, "exp_avg": torch.zeros(3)}},
                "param_groups": [{"lr": 1e-3}],
            },
            "cuda_rng_state_all": [torch.zeros(16, dtype=torch.uint8)],
            "state_dict": collections.OrderedDict(plain["state_dict"]),
        }
        assert_same(weights_of(save(complete), model), weights_of(save(plain), model))

    def test_loaded_models_are_float32_and_in_eval_mode(self, content: Content, save: Save) -> None:
        for model, load in LOADERS.items():
            loaded = load(save(content(model)))
            assert not loaded.training
            assert {value.dtype for value in loaded.parameters()} == {torch.float32}


class TestAudioSettings:
    @pytest.mark.parametrize("place", ["audio", "data_config", "config"])
    def test_audio_settings_are_read(self, content: Content, save: Save, place: str) -> None:
        checkpoint = content("waveglow")
        checkpoint.setdefault(place, {}).update(sampling_rate=16000, mel_fmax=7600.0, name="not a setting")
        audio = load_waveglow(save(checkpoint)).audio
        assert {key: audio[key] for key in ("sampling_rate", "mel_fmax")} == {
            "sampling_rate": 16000,
            "mel_fmax": 7600.0,
        }
        assert "name" not in audio

    def test_default_hop_is_a_quarter_of_the_upsampling_kernel(self, waveglow: WaveGlow) -> None:
        assert (waveglow.config.upsample_kernel, waveglow.config.upsample_stride) == (1024, 256)

    def test_stated_hop_is_used(self, content: Content, save: Save) -> None:
        assert load_waveglow(save(content("waveglow") | {"audio": {"hop_length": 128}})).config.upsample_stride == 128


class TestMismatches:
    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("decoder.gate_layer.linear_layer.weight", "decoder.gate_layer.weight: expected [1, 36], got no tensor"),
            (
                "decoder.decoder_rnn.weight_hh",
                "decoder.decoder_rnn.weight_hh: needed to infer the model's dimensions; it is absent",
            ),
        ],
    )
    def test_missing_tensor_is_named(self, content: Content, save: Save, key: str, message: str) -> None:
        checkpoint = content("tacotron2")
        del checkpoint["state_dict"][key]
        assert message in error_of(load_tacotron2, save(checkpoint))

    def test_unexpected_tensor_is_named_as_in_the_file(self, content: Content, save: Save) -> None:
        checkpoint = content("waveglow")
        checkpoint["state_dict"]["module.WN.9.extra.conv.weight"] = torch.zeros(3, 2)
        message = error_of(load_waveglow, save(checkpoint))
        assert "module.WN.9.extra.conv.weight: expected no tensor, got [3, 2]" in message

    def test_tensor_of_wrong_shape_is_named_with_both_shapes(self, content: Content, save: Save) -> None:
        checkpoint = content("tacotron2")
        checkpoint["state_dict"]["decoder.attention_rnn.bias_ih"] = torch.zeros(7)
        message = error_of(load_tacotron2, save(checkpoint))
        assert re.search(r"decoder\.attention_rnn\.bias_ih: expected \[\d+\], got \[7\]$", message)

    def test_many_mismatches_are_counted(self, content: Content, save: Save) -> None:
        checkpoint = content("waveglow")
        for key in [key for key in checkpoint["state_dict"] if ".in_layers.0." in key]:
            checkpoint["state_dict"][key] = checkpoint["state_dict"][key][:3]
        assert re.search(r"; and \d+ more$", error_of(load_waveglow, save(checkpoint)))

    def test_two_tensors_with_the_same_name_are_rejected(self, content: Content, save: Save) -> None:
        checkpoint = content("tacotron2")
        checkpoint["state_dict"]["module.embedding.weight"] = torch.zeros(2, 2)
        assert "map to the same tensor name" in error_of(load_tacotron2, save(checkpoint))

    @MODELS
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_nan_and_inf_weights_are_rejected(self, content: Content, save: Save, model: str, bad: float) -> None:
        checkpoint = content(model)
        key = next(key for key, value in checkpoint["state_dict"].items() if value.ndim == 3)
        checkpoint["state_dict"][key][0, 0, 0] = bad
        assert f"{key} contains NaN or Inf" in error_of(LOADERS[model], save(checkpoint))

    def test_weight_norm_without_gain_is_rejected(self, content: Content, save: Save) -> None:
        checkpoint = content("waveglow")
        del checkpoint["state_dict"]["WN.0.start.weight_g"]
        assert "WN.0.start.weight_g: expected [8, 1, 1], got no tensor" in error_of(load_waveglow, save(checkpoint))

    def test_entry_that_is_not_a_tensor_is_rejected(self, content: Content, save: Save) -> None:
        checkpoint = content("tacotron2")
        checkpoint["state_dict"]["embedding.weight"] = [1.0, 2.0]
        assert "embedding.weight should be a tensor, got list" in error_of(load_tacotron2, save(checkpoint))


class TestConfigs:
    @pytest.mark.parametrize(
        ("model", "changes", "message"),
        [
            ("tacotron2", {"n_symbols": "148"}, "config 'n_symbols' should be a number (int), got '148'"),
            ("tacotron2", {"prenet_dim": True}, "config 'prenet_dim' should be a number (int), got True"),
            ("tacotron2", {"prenet_dim": None}, "config 'prenet_dim' should be a number (int), got None"),
            ("tacotron2", {"prenet_dim": 8.5}, "config 'prenet_dim' should be a number (int), got 8.5"),
            ("tacotron2", {"gate_threshold": [0.5]}, "config 'gate_threshold' should be a number (float)"),
            ("waveglow", {"WN_config": 3}, "config 'WN_config' should be a dict, got int"),
        ],
    )
    def test_values_of_wrong_types_are_rejected(
        self, content: Content, save: Save, model: str, changes: dict[str, Any], message: str
    ) -> None:
        assert message in error_of(LOADERS[model], save(content(model, **changes)))

    @pytest.mark.parametrize(
        ("model", "changes", "message"),
        [
            ("tacotron2", {"max_decoder_steps": 0}, "max_decoder_steps must be positive"),
            ("tacotron2", {"gate_threshold": -0.5}, "gate_threshold must be positive"),
            ("waveglow", {"upsample_stride": 100}, "the hop must be a multiple of n_group 8, got 100 samples"),
            (
                "waveglow",
                {"upsample_stride": 2048},
                "upsample_kernel must be at least the hop of 2048 samples, got 1024",
            ),
            ("waveglow", {"hop_length": 0.5}, "hop_length: expected at least 1, got 0.5"),
            ("waveglow", {"hop_length": 100.5}, "hop_length: expected a whole number of samples, got 100.5"),
        ],
    )
    def test_impossible_values_are_rejected(
        self, content: Content, save: Save, model: str, changes: dict[str, Any], message: str
    ) -> None:
        assert message in error_of(LOADERS[model], save(content(model, **changes)))

    @pytest.mark.parametrize("with_config", [True, False])
    def test_frames_per_step_are_inferred(self, content: Content, save: Save, with_config: bool) -> None:
        checkpoint = with_frames_per_step(content("tacotron2", n_frames_per_step=3), 3)
        if not with_config:
            del checkpoint["config"]
        config = load_tacotron2(save(checkpoint)).config
        assert (config.n_frames_per_step, config.n_mel_channels) == (3, 4)

    def test_prenet_must_accept_all_frames_of_a_step(self, content: Content, save: Save) -> None:
        checkpoint = with_frames_per_step(content("tacotron2", n_frames_per_step=3), 3)
        weight = checkpoint["state_dict"]["decoder.prenet.layers.0.linear_layer.weight"]
        checkpoint["state_dict"]["decoder.prenet.layers.0.linear_layer.weight"] = weight[:, :4]
        assert "prenet.layers.0.linear_layer.weight: expected [8, 12], got [8, 4]" in error_of(
            load_tacotron2, save(checkpoint)
        )

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("encoder.convolutions.0.0.conv.weight", "encoder_kernel_size must be odd, got 4"),
            ("postnet.convolutions.0.0.conv.weight", "postnet_kernel_size must be odd, got 4"),
        ],
    )
    def test_even_kernels_are_rejected(self, content: Content, save: Save, key: str, message: str) -> None:
        checkpoint = content("tacotron2")
        for name in ("encoder_kernel_size", "postnet_kernel_size"):
            del checkpoint["config"][name]
        checkpoint["state_dict"][key] = checkpoint["state_dict"][key][:, :, :4]
        assert message in error_of(load_tacotron2, save(checkpoint))

    def test_float_setting_accepts_an_integer(self, content: Content, save: Save) -> None:
        assert load_tacotron2(save(content("tacotron2", gate_threshold=1))).config.gate_threshold == 1.0

    @pytest.mark.parametrize(
        ("model", "changes", "message"),
        [
            ("tacotron2", {"n_symbols": 150}, "config 'n_symbols' does not match the weights: expected 148, got 150"),
            (
                "tacotron2",
                {"postnet_n_convolutions": 4},
                "'postnet_n_convolutions' does not match the weights: expected 5, got 4",
            ),
            ("waveglow", {"n_flows": 10**9}, "n_flows"),
            (
                "waveglow",
                {"WN_config": {"n_layers": 1}},
                "config 'n_layers' does not match the weights: expected 3, got 1",
            ),
        ],
    )
    def test_config_that_contradicts_the_weights_is_rejected(
        self, content: Content, save: Save, model: str, changes: dict[str, Any], message: str
    ) -> None:
        assert message in error_of(LOADERS[model], save(content(model, **changes)))

    @MODELS
    @pytest.mark.parametrize("config", ["absent", None, [1, 2], {}])
    def test_dimensions_are_inferred_without_a_config(
        self, content: Content, save: Save, model: str, config: Any
    ) -> None:
        expected = LOADERS[model](save(content(model)))
        checkpoint = content(model) | {"config": config}
        if config == "absent":
            del checkpoint["config"]
        loaded = LOADERS[model](save(checkpoint))
        inferred = {name for name in vars(expected.config) if name not in ("max_decoder_steps", "gate_threshold")}
        assert all(getattr(loaded.config, name) == getattr(expected.config, name) for name in inferred)
        assert_same(loaded.state_dict(), expected.state_dict())


class TestBrokenFiles:
    def test_missing_file(self, tmp_path: Path) -> None:
        assert error_of(load_tacotron2, tmp_path / "none.pt").startswith("no such file")

    def test_folder_is_not_a_file(self, tmp_path: Path) -> None:
        assert error_of(load_tacotron2, tmp_path).startswith("a folder")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"hello world, no checkpoint\n" * 9,
            b"<!DOCTYPE html><html></html>",
            b"PK\x03\x04",
            b"\x89PNG\r\n\x1a\n",
        ],
        ids=["empty", "text", "web page", "start of a zip", "image"],
    )
    def test_file_that_is_not_a_checkpoint(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "model.pt"
        path.write_bytes(data)
        assert "truncated, or not a PyTorch checkpoint" in error_of(load_waveglow, path)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_truncated_file(self, content: Content, tmp_path: Path, legacy: bool) -> None:
        path = tmp_path / "model.pt"
        torch.save(content("waveglow"), path, _use_new_zipfile_serialization=not legacy)
        data = path.read_bytes()
        for size in (10, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:size])
            assert "truncated" in error_of(load_waveglow, path)

    @pytest.mark.parametrize(
        ("saved", "message"),
        [
            ({"model": 1, "iteration": 2}, "got a dict with 'model', 'iteration'"),
            ({}, "got a dict with nothing in it"),
            (torch.zeros(3), "got a tensor"),
            ({"config": {}, "state_dict": None}, "got a dict with 'config', 'state_dict'"),
            (collections.Counter("abc"), "got an object of Counter"),
        ],
    )
    def test_file_without_weights(self, save: Save, saved: Any, message: str) -> None:
        assert message in error_of(load_tacotron2, save(saved))
