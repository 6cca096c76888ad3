"""PyTorch modules against the results of NVIDIA's classes with the same weights, masks and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tacoglow.models import Denoiser, Tacotron2, WaveGlow, load_tacotron2, load_waveglow
from tacoglow.tests.tolerances import PUBLISHED, PUBLISHED_HALF

SIGMA = 0.6
STRENGTH = 0.1
LIMIT = 7  # decoder steps, the limit of the case "limit"

Golden = dict[str, Tensor]


def assert_close(got: Tensor, expected: Tensor, tolerance: float = PUBLISHED) -> None:
    torch.testing.assert_close(got, expected, rtol=0.0, atol=tolerance)


@pytest.fixture
def model_for(content: Callable[..., Any], save: Callable[[Any], Path]) -> Callable[[str], Tacotron2]:
    def load(case: str) -> Tacotron2:
        changes = {"max_decoder_steps": LIMIT} if case == "limit" else {}
        return load_tacotron2(save(content("tacotron2", **changes)))

    return load


def inputs(golden: Golden, case: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids [B, T], lengths [B] and masks [B, F, 2, P]."""
    batch = len(golden[f"tacotron2/{case}/memory"])
    ids = golden["tacotron2/ids"][:batch]
    return ids, torch.full((batch,), ids.shape[1]), golden["tacotron2/masks"][:batch]


@pytest.mark.parametrize("case", ["stop", "limit", "pair"])
def test_encoder_matches_nvidia(model_for: Callable[[str], Tacotron2], golden: Golden, case: str) -> None:
    ids, lengths, _ = inputs(golden, case)
    with torch.no_grad():
        memory, _, mask = model_for(case).encode(ids, lengths)
    assert_close(memory, golden[f"tacotron2/{case}/memory"])
    assert not mask.any()


@pytest.mark.parametrize("case", ["stop", "limit", "pair"])
def test_decoder_matches_nvidia(model_for: Callable[[str], Tacotron2], golden: Golden, case: str) -> None:
    ids, lengths, masks = inputs(golden, case)
    model = model_for(case)
    with torch.no_grad():
        out = model.decode(*model.encode(ids, lengths), masks)
    assert out.mel_lengths.tolist() == golden[f"tacotron2/{case}/mel_lengths"].tolist()
    for i, decoded in enumerate(out.frames_decoded):  # NVIDIA's values go on past an item's end until the batch ends
        assert_close(out.mel[i, :, :decoded], golden[f"tacotron2/{case}/mel"][i, :, :decoded])
        assert_close(out.gate_logits[i, :decoded], golden[f"tacotron2/{case}/gate_logits"][i, :decoded])
        assert_close(out.alignments[i, :decoded], golden[f"tacotron2/{case}/alignments"][i, :decoded])


@pytest.mark.parametrize("case", ["stop", "limit"])
def test_infer_matches_nvidia(model_for: Callable[[str], Tacotron2], golden: Golden, case: str) -> None:
    ids, lengths, masks = inputs(golden, case)
    mel, mel_lengths, alignments = model_for(case).infer(ids, lengths, masks)
    assert_close(mel, golden[f"tacotron2/{case}/mel_postnet"])
    assert_close(alignments, golden[f"tacotron2/{case}/alignments"])
    assert mel_lengths.tolist() == golden[f"tacotron2/{case}/mel_lengths"].tolist()


def test_golden_cases_end_as_their_names_say(golden: Golden) -> None:
    frames = {case: golden[f"tacotron2/{case}/mel"].shape[2] for case in ("stop", "limit", "pair")}
    assert golden["tacotron2/stop/mel_lengths"].tolist() == [
        frames["stop"] - 1
    ]  # the last frame is that of the gate's step
    assert golden["tacotron2/limit/mel_lengths"].tolist() == [LIMIT] == [frames["limit"]]
    assert len(set(golden["tacotron2/pair/mel_lengths"].tolist())) == 2


def test_infer_without_lengths_matches_nvidia(tacotron2: Tacotron2, golden: Golden) -> None:
    """infer(ids) returns mel before and after the postnet, gates and alignments, as in NVIDIA's example."""
    ids, _, masks = inputs(golden, "stop")
    older = tacotron2.infer(ids, None, masks)
    for got, name in zip(older, ("mel", "mel_postnet", "gate_logits", "alignments"), strict=True):
        assert_close(got, golden[f"tacotron2/stop/{name}"])


def test_random_dropout_is_on_and_seeded(tacotron2: Tacotron2, golden: Golden) -> None:
    ids, lengths, _ = inputs(golden, "stop")
    mels = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        mels.append(tacotron2.infer(ids, lengths)[0][:, :, :5])
    assert torch.equal(mels[0], mels[1])
    assert not torch.allclose(mels[0], mels[2])


def test_waveglow_matches_nvidia(waveglow: WaveGlow, golden: Golden) -> None:
    audio = waveglow.infer(golden["waveglow/mel"], SIGMA, golden["waveglow/z"])
    assert_close(audio, golden["waveglow/audio"])
    assert waveglow.remove_weightnorm(waveglow) is waveglow


def test_waveglow_draws_noise_if_none_is_given(waveglow: WaveGlow, golden: Golden) -> None:
    torch.manual_seed(3)
    drawn = waveglow.infer(golden["waveglow/mel"], SIGMA)
    torch.manual_seed(3)
    z = torch.randn(golden["waveglow/z"].shape)
    assert torch.equal(drawn, waveglow.infer(golden["waveglow/mel"], SIGMA, z))


def test_denoiser_matches_nvidia(waveglow: WaveGlow, golden: Golden) -> None:
    denoised = Denoiser(waveglow)(golden["waveglow/audio"], STRENGTH)
    assert_close(denoised, golden["waveglow/denoised"], PUBLISHED)
    assert (denoised - golden["waveglow/audio"]).abs().max() > 0.01  # so the bias is large enough to matter


def test_half_precision_stays_near_float32(
    content: Callable[..., Any], save: Callable[[Any], Path], golden: Golden
) -> None:
    """Half precision by .half() after loading, as with model_math="fp16"."""
    ids, lengths, masks = inputs(golden, "limit")
    speaker = load_tacotron2(save(content("tacotron2", max_decoder_steps=LIMIT))).half()
    mel, _, _ = speaker.infer(ids, lengths, masks.half())
    assert_close(mel.float(), golden["tacotron2/limit/mel_postnet"], PUBLISHED_HALF)
    vocoder = load_waveglow(save(content("waveglow"))).half()
    audio = vocoder.infer(golden["waveglow/mel"].half(), SIGMA, golden["waveglow/z"].half())
    assert_close(audio.float(), golden["waveglow/audio"], PUBLISHED_HALF)
