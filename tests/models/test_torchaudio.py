"""Tacotron 2 against torchaudio's independent implementation, with the same weights and dropout masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tacoglow.models import Tacotron2, Tacotron2Config
from tacoglow.tests.conftest import TACOTRON2
from tacoglow.tests.models.torchaudio_peer import dropout_masks
from tacoglow.tests.tolerances import PUBLISHED


@pytest.fixture(scope="module")
def reference(tacotron2: Tacotron2, torchaudio_tacotron2: Callable[[Tacotron2], Any]) -> Any:
    return torchaudio_tacotron2(tacotron2)


def infer_with_masks(reference: Any, ids: Tensor, lengths: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with dropout_masks(masks), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torchaudio warns when the step limit is reached
        mel, mel_lengths, alignments = reference.infer(ids, lengths)
    return mel, mel_lengths, alignments


@pytest.mark.parametrize("seed", range(4))
def test_infer_matches_torchaudio(reference: Any, tacotron2: Tacotron2, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    config = tacotron2.config
    ids = torch.randint(0, config.n_symbols, (1, 6 + 5 * seed), generator=generator)
    masks = torch.randint(0, 2, (1, config.max_decoder_steps, 2, config.prenet_dim), generator=generator) * 2.0
    lengths = torch.tensor([ids.shape[1]])
    expected = infer_with_masks(reference, ids, lengths, masks)
    mel, mel_lengths, alignments = tacotron2.infer(ids, lengths, masks)
    torch.testing.assert_close(mel, expected[0], rtol=0.0, atol=PUBLISHED)
    torch.testing.assert_close(alignments, expected[2], rtol=0.0, atol=PUBLISHED)
    # torchaudio's lengths include the frame at which the gate fired, NVIDIA's mel_lengths do not.
    stopped = mel.shape[2] < config.max_decoder_steps
    assert mel_lengths.tolist() == [int(expected[1]) - stopped]


@pytest.mark.parametrize("r", [2, 3])
def test_several_frames_per_step_match_torchaudio(torchaudio_tacotron2: Callable[[Tacotron2], Any], r: int) -> None:
    """Mels and alignments equal torchaudio's; torchaudio's lengths count steps, those here count frames."""
    torch.manual_seed(r)
    model = Tacotron2(Tacotron2Config(**{**TACOTRON2, "n_frames_per_step": r, "max_decoder_steps": 9}))
    ids, masks = torch.randint(0, 148, (1, 11)), torch.randint(0, 2, (1, 9, 2, TACOTRON2["prenet_dim"])) * 2.0
    lengths, ends = torch.tensor([11]), set()
    for gate_bias in (-9.0, 0.0):  # once to the step limit, once until the gate fires
        with torch.no_grad():
            model.decoder.gate_layer.bias.fill_(gate_bias)
            model.decoder.gate_layer.weight.mul_(1.0 if gate_bias else 8.0)
        expected = infer_with_masks(torchaudio_tacotron2(model), ids, lengths, masks)
        mel, mel_lengths, alignments = model.infer(ids, lengths, masks)
        steps = int(expected[1])
        assert mel.shape[2] == r * steps
        torch.testing.assert_close(mel, expected[0], rtol=0.0, atol=PUBLISHED)
        torch.testing.assert_close(alignments, expected[2], rtol=0.0, atol=PUBLISHED)
        assert mel_lengths.tolist() == [r * (steps - (steps < 9))]
        ends.add(steps < 9)
    assert ends == {False, True}
