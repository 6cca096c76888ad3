"""The tiny voice: random weights under NVIDIA's names, its files, and its bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tacoglow.export.bundle import Limits, export_onnx
from tacoglow.export.voice import read_voice_file
from tacoglow.models import Tacotron2, Tacotron2Config, WaveGlow, WaveGlowConfig, load_tacotron2, load_waveglow
from tacoglow.models.config import WNConfig
from tacoglow.tests.conftest import MAX_TOKENS, SEED, TACOTRON2, VOICE, WAVEGLOW, TinyCheckpoints


def write_checkpoints(folder: Path) -> TinyCheckpoints:
    files = TinyCheckpoints(folder / "tacotron2.pt", folder / "waveglow.pt", folder / "voice.json")
    torch.manual_seed(SEED)
    torch.save({"config": TACOTRON2, "state_dict": tacotron2_state(TACOTRON2)}, files.tacotron2)
    torch.save({"config": WAVEGLOW, "state_dict": waveglow_state(WAVEGLOW)}, files.waveglow)
    files.voice.write_text(json.dumps(VOICE))
    return files


def export_voice(files: TinyCheckpoints, bundle: Path) -> Path:
    export_onnx(
        load_tacotron2(files.tacotron2),
        load_waveglow(files.waveglow),
        bundle,
        voice=read_voice_file(files.voice),
        limits=Limits(batch=4, tokens=MAX_TOKENS),
    )
    return bundle


def tacotron2_state(config: dict[str, Any]) -> dict[str, Tensor]:
    """Return random weights under NVIDIA's names, from torch's generator, of a voice whose gate fires."""
    model = Tacotron2(Tacotron2Config(**config))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in ("lstm", "_rnn", "prenet", "attention_layer", "projection.weight")):
                weight.mul_(3.0)  # so that text and noise matter as much as the biases
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0.0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        # The gate fires within the frame limit on most texts, but not at the first frames.
        model.decoder.gate_layer.weight.mul_(30.0)
        model.decoder.gate_layer.bias.fill_(-2.8)
    return {_published_name(name): value.clone() for name, value in model.state_dict().items()}


def _published_name(name: str) -> str:
    """Return NVIDIA's name of a tensor, which includes wrapper modules that this package does not have."""
    stem, kind = name.rsplit(".", 1)
    if stem.startswith(("encoder.convolutions", "postnet.convolutions")) and stem.endswith(".0"):
        return f"{stem}.conv.{kind}"
    if stem.endswith("location_conv"):
        return f"{stem}.conv.{kind}"
    linear = ("decoder.prenet.layers", "decoder.attention_layer", "decoder.linear_projection", "decoder.gate_layer")
    return f"{stem}.linear_layer.{kind}" if stem.startswith(linear) else name


def waveglow_state(config: dict[str, Any]) -> dict[str, Tensor]:
    """Return random weights with weight norm on, as training saves them."""
    model = WaveGlow(WaveGlowConfig(**{**config, "WN_config": WNConfig(**config["WN_config"])}))
    state = {}
    for name, value in model.state_dict().items():
        stem, kind = name.rsplit(".", 1)
        if ".end" in stem:
            state[name] = torch.randn_like(value) * 0.05
        elif stem.startswith("WN.") and kind == "weight":
            state[f"{stem}.weight_g"] = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            state[f"{stem}.weight_v"] = value * 1.5
        elif stem.startswith("convinv."):
            state[f"{stem}.conv.{kind}"] = value.clone()
        else:
            state[name] = value.clone()
    return state
