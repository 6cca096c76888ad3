"""Tacotron 2 against torchaudio's, an implementation of its own, with the same weights and dropout masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from tacoglow.models import Tacotron2
from tacoglow.tests.tolerances import PUBLISHED


@pytest.fixture(scope="module")
def reference(tacotron2: Tacotron2, torchaudio_tacotron2: Callable[[Tacotron2], Any]) -> Any:
    return torchaudio_tacotron2(tacotron2)


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
