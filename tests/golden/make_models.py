"""Writes models.npz: tiny Tacotron 2 and WaveGlow models of NVIDIA's classes, with their inputs and outputs.

    python tests/golden/make_models.py path/to/DeepLearningExamples/PyTorch/SpeechSynthesis/Tacotron2

Weights are random but seeded. Random numbers inside NVIDIA's modules are replaced by stored values: prenet dropout by
masks, noise by z. Tests need only the file; the checkout is needed only to write the file again.

Arrays are named MODEL/state/KEY (weights under NVIDIA's keys), MODEL/config (JSON) and MODEL/CASE/NAME.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

SEED = 20190427
BANDS = 4  # mel bands; few, because NVIDIA's upsampling layer has 1,024 weights for each pair of bands
FRAMES = 6
SIGMA = 0.6
STRENGTH = 0.1
TOKENS = [[11, 45, 3, 90, 147, 12, 66, 28, 101, 7], [64, 5, 5, 120, 31, 77, 2, 140, 19, 83]]
TACOTRON2: dict[str, Any] = {
    "mask_padding": False,
    "n_mel_channels": BANDS,
    "n_symbols": 148,
    "symbols_embedding_dim": 16,
    "encoder_kernel_size": 5,
    "encoder_n_convolutions": 3,
    "encoder_embedding_dim": 16,
    "attention_rnn_dim": 24,
    "attention_dim": 10,
    "attention_location_n_filters": 6,
    "attention_location_kernel_size": 7,
    "n_frames_per_step": 1,
    "decoder_rnn_dim": 20,
    "prenet_dim": 8,
    "max_decoder_steps": 30,
    "gate_threshold": 0.5,
    "p_attention_dropout": 0.1,
    "p_decoder_dropout": 0.1,
    "postnet_embedding_dim": 12,
    "postnet_kernel_size": 5,
    "postnet_n_convolutions": 5,
    "decoder_no_early_stopping": False,
}
WAVEGLOW: dict[str, Any] = {
    "n_mel_channels": BANDS,
    "n_flows": 4,
    "n_group": 8,
    "n_early_every": 2,
    "n_early_size": 2,
    "WN_config": {"n_layers": 3, "kernel_size": 3, "n_channels": 8},
}
LIMIT = 7  # frames of the case that ends at the step limit, before any gate fires


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    sys.path.insert(0, str(parser.parse_args().checkout))
    replace_librosa()
    torch.manual_seed(SEED)
    with torch.no_grad():
        arrays = tacotron2_arrays() | waveglow_arrays()
    path = Path(__file__).with_name("models.npz")
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")


def replace_librosa() -> None:
    """Install a fake librosa. The code that runs here uses it only to pad a window that has its full length already."""
    names = ("librosa", "librosa.filters", "librosa.util")
    modules = {name: types.ModuleType(name) for name in names}
    util: Any = modules["librosa.util"]
    util.pad_center = lambda window, size: window
    util.normalize = lambda window, norm: window
    util.tiny = lambda array: np.finfo(np.float32).tiny
    modules["librosa.filters"].mel = None  # type: ignore[attr-defined]
    modules["librosa"].util = util  # type: ignore[attr-defined]
    sys.modules.update(modules)


def tacotron2_arrays() -> dict[str, Any]:
    from tacotron2.model import Tacotron2  # type: ignore[import-not-found]  # from the checkout

    model = Tacotron2(**TACOTRON2).eval()
    disturb(model)
    masks = torch.randint(0, 2, (2, TACOTRON2["max_decoder_steps"], 2, TACOTRON2["prenet_dim"])) * 2.0
    ids = torch.tensor(TOKENS)
    fire_gates(model, ids, masks)
    arrays = named_arrays("tacotron2", model, TACOTRON2) | {
        "tacotron2/ids": ids.numpy(),
        "tacotron2/masks": masks.numpy(),
    }
    arrays |= run_tacotron2(model, "stop", ids[:1], masks[:1])
    arrays |= run_tacotron2(model, "pair", ids, masks)
    model.decoder.max_decoder_steps = LIMIT
    return arrays | run_tacotron2(model, "limit", ids[:1], masks[:1])


def disturb(model: nn.Module) -> None:
    """Scale weights so that every layer affects the result, and make batch norms differ from the identity."""
    for name, weight in model.named_parameters():
        if "lstm" in name or "_rnn" in name or "layer" in name:
            weight.mul_(2.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.get_buffer("running_mean").normal_(0.0, 0.2)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0.0, 0.2)


def fire_gates(model: Any, ids: Tensor, masks: Tensor) -> None:
    """Set the gate's bias so that both items end at different frames, with a margin larger than rounding errors."""
    bias = model.decoder.gate_layer.linear_layer.bias
    bias.fill_(-30.0)
    lengths = torch.full((2,), ids.shape[1])
    with dropout(masks):
        _, gates, _, _ = model.decoder.infer(encode(model, ids, lengths), lengths)
    peaks = (gates + 30.0).reshape(-1, 2).T.cummax(1).values  # [B, F]
    for threshold in torch.linspace(float(peaks.min()), float(peaks.max()), 400):
        ends = (peaks <= threshold).sum(1)
        margin = (peaks - threshold).abs().min()
        in_time = ends.min() > LIMIT + 1 and ends.max() < masks.shape[1] - 2
        if in_time and ends[0] != ends[1] and margin > 1e-3:
            bias.fill_(-float(threshold))
            return
    raise SystemExit("no gate bias ends the two items at different frames; choose a different SEED")


def encode(model: Any, ids: Tensor, lengths: Tensor) -> Tensor:
    memory: Tensor = model.encoder.infer(model.embedding(ids).transpose(1, 2), lengths)
    return memory


def run_tacotron2(model: Any, case: str, ids: Tensor, masks: Tensor) -> dict[str, Any]:
    lengths = torch.full(ids.shape[:1], ids.shape[1])
    memory = encode(model, ids, lengths)
    with dropout(masks):
        mel, gates, _, _ = model.decoder.infer(memory, lengths)
    with dropout(masks):
        mel_postnet, mel_lengths, alignments = model.infer(ids, lengths)
    out = {
        "memory": memory,
        "mel": mel,
        "gate_logits": gates.reshape(-1, len(ids)).T,  # [B, F]; NVIDIA's code returns them flattened
        "mel_postnet": mel_postnet,
        "mel_lengths": mel_lengths,
        "alignments": alignments,
    }
    print(f"tacotron2 {case}: {mel.shape[2]} frames, lengths {mel_lengths.tolist()}")
    return {f"tacotron2/{case}/{name}": value.numpy() for name, value in out.items()}


@contextmanager
def dropout(masks: Tensor) -> Iterator[None]:
    """Replace F.dropout: each active call multiplies by the next mask [B, P] of masks [B, F, 2, P]."""
    following = iter(masks.flatten(1, 2).unbind(1))

    def apply_mask(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * next(following) if training else x

    with mock.patch("torch.nn.functional.dropout", apply_mask):
        yield


def waveglow_arrays() -> dict[str, Any]:
    from waveglow.denoiser import Denoiser  # type: ignore[import-not-found]  # from the checkout
    from waveglow.model import WaveGlow  # type: ignore[import-not-found]

    model = WaveGlow(**WAVEGLOW).eval()
    for flow in model.WN:
        flow.end.weight.normal_(0.0, 0.15)
        flow.end.bias.normal_(0.0, 0.1)
        flow.start.weight_g.mul_(1.5)  # so that g differs from |v|, as it does in a trained model
    arrays = named_arrays("waveglow", model, WAVEGLOW)
    model = WaveGlow.remove_weightnorm(model)
    mel = torch.randn(2, BANDS, FRAMES) * 2.0 - 4.0
    z = torch.randn(2, WAVEGLOW["n_group"], FRAMES * 32)
    drawn = iter((z[:, :6], z[:, 6:]))  # the flow starts with 6 channels, 2 enter later
    with mock.patch("torch.randn", side_effect=drawn):
        audio = model.infer(mel, sigma=SIGMA)
    silence = torch.zeros(1, BANDS, 88)  # the denoiser requests zeros of 80 bands
    with mock.patch("torch.zeros", return_value=silence):
        denoiser = Denoiser(model)
    denoised = denoiser(audio, STRENGTH)[:, 0]
    peak, removed = audio.abs().max(), (audio - denoised).abs().max()
    print(f"waveglow: peak {peak:.2f}, the denoiser removes up to {removed:.4f}")
    out = {"mel": mel, "z": z, "audio": audio, "denoised": denoised}
    return arrays | {f"waveglow/{name}": value.numpy() for name, value in out.items()}


def named_arrays(name: str, model: nn.Module, config: dict[str, Any]) -> dict[str, Any]:
    state = {f"{name}/state/{key}": value.numpy().copy() for key, value in model.state_dict().items()}
    return state | {f"{name}/config": np.array(json.dumps(config))}


if __name__ == "__main__":
    main()
