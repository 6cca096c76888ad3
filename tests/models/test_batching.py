"""A batch item gives exactly the result that it gives alone, for any order and lengths of the other items.

The tests run in float64, so that an error in a mask cannot hide behind rounding that differs between batch sizes.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tacoglow.models import Tacotron2, WaveGlow
from tacoglow.tests.tolerances import BATCH_FLOAT64

LENGTHS = [[7, 7], [5, 12, 1], [12, 3, 9, 9, 2], [1, 1, 20]]


@pytest.fixture(scope="module")
def speaker(tacotron2: Tacotron2) -> Tacotron2:
    return copy.deepcopy(tacotron2).double()


def batch_of(model: Tacotron2, lengths: list[int], padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids [B, T] filled with `padding` past each length, lengths [B] and masks [B, F, 2, P]."""
    generator = torch.Generator().manual_seed(sum(lengths))
    config = model.config
    ids = torch.full((len(lengths), max(lengths)), padding)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(0, config.n_symbols, (length,), generator=generator)
    shape = (len(lengths), config.max_decoder_steps, 2, config.prenet_dim)
    return ids, torch.tensor(lengths), torch.randint(0, 2, shape, generator=generator).double() * 2.0


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0.0, atol=BATCH_FLOAT64)


@pytest.mark.parametrize("padding", [0, 77])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_encoder_in_a_batch_equals_alone(speaker: Tacotron2, lengths: list[int], padding: int) -> None:
    ids, tensor_lengths, _ = batch_of(speaker, lengths, padding)
    with torch.no_grad():
        memory, _, mask = speaker.encode(ids, tensor_lengths)
        for i, length in enumerate(lengths):
            alone, _, _ = speaker.encode(ids[i : i + 1, :length], tensor_lengths[i : i + 1])
            assert_close(memory[i, :length], alone[0])
            assert not memory[i, length:].any()
            assert mask[i].tolist() == [False] * length + [True] * (max(lengths) - length)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_infer_in_a_batch_equals_alone(speaker: Tacotron2, lengths: list[int]) -> None:
    ids, tensor_lengths, masks = batch_of(speaker, lengths, padding=33)
    mel, mel_lengths, alignments = speaker.infer(ids, tensor_lengths, masks)
    for i, length in enumerate(lengths):
        one = slice(i, i + 1)
        mel_alone, length_alone, alignments_alone = speaker.infer(ids[one, :length], tensor_lengths[one], masks[one])
        frames = mel_alone.shape[2]
        assert mel_lengths[one].tolist() == length_alone.tolist()
        assert_close(mel[i, :, :frames], mel_alone[0])
        assert_close(alignments[i, :frames, :length], alignments_alone[0])
        assert not mel[i, :, frames:].any()
        assert not alignments[i, frames:].any()
        assert not alignments[i, :, length:].any()


def test_batch_order_does_not_matter(speaker: Tacotron2) -> None:
    ids, lengths, masks = batch_of(speaker, [12, 3, 9, 9, 2], padding=0)
    order = torch.tensor([3, 0, 4, 2, 1])
    mel, mel_lengths, _ = speaker.infer(ids, lengths, masks)
    reordered, reordered_lengths, _ = speaker.infer(ids[order], lengths[order], masks[order])
    assert_close(reordered, mel[order])
    assert reordered_lengths.tolist() == mel_lengths[order].tolist()


def test_waveglow_in_a_batch_equals_alone(waveglow: WaveGlow) -> None:
    vocoder, config = copy.deepcopy(waveglow).double(), waveglow.config
    generator = torch.Generator().manual_seed(5)
    mel = torch.randn(3, config.n_mel_channels, 4, generator=generator).double()
    z = torch.randn(3, config.n_group, 4 * config.groups_per_frame, generator=generator).double()
    audio = vocoder.infer(mel, 0.6, z)
    for i in range(3):
        assert_close(audio[i], vocoder.infer(mel[i : i + 1], 0.6, z[i : i + 1])[0])
