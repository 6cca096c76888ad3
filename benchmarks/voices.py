"""Loads the models to measure and exports bundles from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ..export.bundle import Limits, export_onnx
from ..export.demo import demo_folder
from ..export.torchscript import export_torchscript
from ..export.voice import VoiceFile, final_mark, read_voice_file, voice_symbols
from ..models import (
    HiFiGAN,
    HiFiGANConfig,
    Tacotron2,
    Vocoder,
    WaveGlow,
    load_hifigan,
    load_tacotron2,
    load_waveglow,
)
from ..models.waveglow import WN
from ..runtime.bundle.manifest import Precision
from ..text import FrontEnd

SEED = 20181031
# Published generators, by name.
HIFIGANS = {
    "hifigan-v1": HiFiGANConfig(),
    "hifigan-v3": HiFiGANConfig(
        resblock=2,
        upsample_rates=(8, 8, 4),
        upsample_kernel_sizes=(16, 16, 8),
        upsample_initial_channel=256,
        resblock_kernel_sizes=(3, 5, 7),
        resblock_dilation_sizes=((1, 2), (2, 6), (3, 12)),
    ),
}


@dataclass(frozen=True)
class Models:
    tacotron2: Tacotron2
    vocoder: Vocoder
    voice: VoiceFile

    @property
    def front_end(self) -> FrontEnd:
        symbols = voice_symbols(self.voice, self.tacotron2)
        return FrontEnd(symbols, self.voice.cleaners, final_mark=final_mark(self.voice, symbols))


def load_models(
    tacotron2: Path, vocoder: Path, voice: Path | None, vocoder_kind: str = "waveglow", name: str | None = None
) -> Models:
    """Load both checkpoints. voice: path of the voice file; None: the exporter's defaults, with `name` if given."""
    voice_file = VoiceFile(name=name or tacotron2.stem) if voice is None else read_voice_file(voice)
    hop = voice_file.audio.get("hop_length")
    if vocoder_kind == "hifigan":
        return Models(load_tacotron2(tacotron2), load_hifigan(vocoder), voice_file)
    return Models(load_tacotron2(tacotron2), load_waveglow(vocoder, None if hop is None else int(hop)), voice_file)


def demo_models() -> Models:
    """Load the small voice that ships with the project."""
    folder = demo_folder()
    return load_models(folder / "tacotron2.pt", folder / "waveglow.pt", folder / "voice.json")


@torch.no_grad()
def random_models(vocoder: str = "waveglow") -> Models:
    """Return models with random weights and NVIDIA's published dimensions: babble, at the published models' cost.

    vocoder: "waveglow", or a name in HIFIGANS.
    """
    name = "random weights of NVIDIA's dimensions"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        tacotron2 = Tacotron2()
        tacotron2.decoder.gate_layer.bias.fill_(-10.0)  # the gate never fires
        if vocoder != "waveglow":
            return Models(tacotron2, HiFiGAN(HIFIGANS[vocoder]), VoiceFile(name=f"{name}, {vocoder}"))
        waveglow = WaveGlow()
        for network in waveglow.WN:
            assert isinstance(network, WN)
            nn.init.normal_(network.end.weight, 0.0, 0.01)  # keeps exp(log scale) near 1, as in a trained model
    return Models(tacotron2, waveglow, VoiceFile(name=name))


def export_bundle(
    models: Models,
    bundle: Path,
    precision: Precision,
    limits: Limits,
    with_torchscript: bool,
    progress: Callable[[str], None],
) -> Path:
    """Export the models as a bundle, in fp32 with an 8-bit decoder beside the other, and return its path.

    with_torchscript: also write TorchScript modules.
    """
    progress(f"exporting {models.voice.name}, {precision}")
    weights: Literal["fp32", "int8"] = "int8" if precision == "fp32" else "fp32"
    export_onnx(models.tacotron2, models.vocoder, bundle, precision, models.voice, limits, decoder_weights=weights)
    if with_torchscript:
        export_torchscript(models.tacotron2, models.vocoder, bundle)
    return bundle
