"""Tacotron 2 against torchaudio's, an implementation of its own, with the same weights and dropout masks."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from tacoglow.models import Tacotron2
from tacoglow.tests.tolerances import PUBLISHED

# torchaudio's name for each of our config's fields that has another name there
RENAMED = {
    "n_mel_channels": "n_mels",
    "n_symbols": "n_symbol",
    "symbols_embedding_dim": "symbol_embedding_dim",
    "encoder_n_convolutions": "encoder_n_convolution",
    "attention_dim": "attention_hidden_dim",
    "attention_location_n_filters": "attention_location_n_filter",
    "max_decoder_steps": "decoder_max_step",
    "postnet_n_convolutions": "postnet_n_convolution",
}


@pytest.fixture(scope="module")
def reference(tacotron2: Tacotron2) -> Any:
    """torchaudio's model, read from its file alone: the package wants a torch of its own version."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchaudio is not installed")
    path = Path(spec.submodule_search_locations[0]) / "models" / "tacotron2.py"
    file_spec = importlib.util.spec_from_file_location("torchaudio_tacotron2", path)
    assert file_spec is not None
    assert file_spec.loader is not None
    module = importlib.util.module_from_spec(file_spec)
    file_spec.loader.exec_module(module)
    settings = {RENAMED.get(name, name): value for name, value in vars(tacotron2.config).items()}
    model = module.Tacotron2(**settings).eval()
    model.load_state_dict(tacotron2.state_dict())
    return model


def infer_with_masks(reference: Any, ids: Tensor, lengths: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    following = iter(masks.flatten(1, 2).unbind(1))

    def masked(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * next(following) if training else x

    with mock.patch("torch.nn.functional.dropout", masked), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that the step limit was reached
        mel, mel_lengths, alignments = reference.infer(ids, lengths)
    return mel, mel_lengths, alignments


@pytest.mark.parametrize("seed", range(4))
def test_infer(reference: Any, tacotron2: Tacotron2, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    config = tacotron2.config
    ids = torch.randint(0, config.n_symbols, (1, 6 + 5 * seed), generator=generator)
    masks = torch.randint(0, 2, (1, config.max_decoder_steps, 2, config.prenet_dim), generator=generator) * 2.0
    lengths = torch.tensor([ids.shape[1]])
    expected = infer_with_masks(reference, ids, lengths, masks)
    mel, mel_lengths, alignments = tacotron2.infer(ids, lengths, masks)
    torch.testing.assert_close(mel, expected[0], rtol=0.0, atol=PUBLISHED)
    torch.testing.assert_close(alignments, expected[2], rtol=0.0, atol=PUBLISHED)
    # torchaudio counts the frame at which the gate fired, NVIDIA's mel_lengths do not
    stopped = mel.shape[2] < config.max_decoder_steps
    assert mel_lengths.tolist() == [int(expected[1]) - stopped]
