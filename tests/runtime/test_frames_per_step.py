"""Compares voices with several frames per decoder step (r = 2, 3) with a plain loop over the PyTorch modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.export import ExportError, export_onnx
from tacoglow.export.bundle import Limits
from tacoglow.export.voice import read_voice_file
from tacoglow.models import Tacotron2, load_tacotron2, load_waveglow
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.tests import tolerances
from tacoglow.tests.conftest import TinyCheckpoints

TEXTS = ["I missed you, and the rest.", "No.", "Hello world!"]
NEVER = 1.0 - 1e-12  # a gate threshold that is never exceeded: every utterance reaches the frame limit

pytestmark = pytest.mark.filterwarnings("ignore:the gate")


@pytest.fixture(scope="module")
def tacotron2(reduced_checkpoint: Path) -> Tacotron2:
    return load_tacotron2(reduced_checkpoint)


@pytest.fixture(scope="module")
def voice(reduced_bundle: Path) -> Synthesizer:
    return Synthesizer.load(reduced_bundle, threads=1)


@torch.no_grad()
def expected_speech(model: Tacotron2, ids: list[int], noise: Noise, threshold: float, n_steps: int) -> dict[str, Any]:
    """NVIDIA/tacotron2's Decoder.inference and parse_decoder_outputs in NumPy, around single steps of our modules."""
    r, bands = model.config.n_frames_per_step, model.config.n_mel_channels
    dropout = noise.prenet_dropout(0, n_steps, 2, model.config.prenet_dim)
    encoded = model.encode(torch.tensor([ids]), torch.tensor([len(ids)]))
    state = model.decoder.initial_state(encoded[0])
    group = torch.zeros(1, r * bands)
    frames: list[NDArray[Any]] = []
    gates: list[float] = []
    alignment: list[NDArray[Any]] = []
    while len(gates) < n_steps and not (gates and gates[-1] > threshold):
        group, gate, state = model.decoder(group, torch.from_numpy(dropout[None, len(gates)]), state, *encoded)
        frames += [group[0, k * bands : (k + 1) * bands].numpy() for k in range(r)]
        alignment += [state.attention_weights[0].numpy()] * r
        gates.append(float(torch.sigmoid(gate)))
    mel = model.postnet(torch.from_numpy(np.stack(frames, 1)[None]), torch.tensor([len(frames)]))[0].numpy()
    fired = gates[-1] > threshold
    length = len(frames) - r * fired
    return {
        "mel": mel[:, :length],
        "alignment": np.stack(alignment)[:length],
        "gate": np.repeat(gates, r)[:length],
        "stop_reason": "gate" if fired else "frame_limit",
    }


@pytest.mark.parametrize("backend", ["onnxruntime", "torchscript"])
def test_speech_equals_pytorch_modules(tacotron2: Tacotron2, reduced_bundle: Path, backend: str) -> None:
    tts = Synthesizer.load(reduced_bundle, backend, threads=1)
    n_steps = 41 // tacotron2.config.n_frames_per_step
    ends = set()
    for seed in range(6):
        ids = tts.front_end.encode(TEXTS[seed % 3])
        expected = expected_speech(tacotron2, ids, Noise(seed), 0.5, n_steps)
        got = tts.speak_ids([ids], [Noise(seed)], SpeechOptions())[0]
        ends.add((got.stop_reason, got.mel.shape[1]))
        assert got.stop_reason == expected["stop_reason"]
        for name in ("mel", "alignment", "gate"):
            assert getattr(got, name).shape == expected[name].shape
            np.testing.assert_allclose(getattr(got, name), expected[name], atol=tolerances.TORCHSCRIPT)
        assert len(got.samples) == got.mel.shape[1] * tts.manifest.audio.hop_length
    assert {reason for reason, _ in ends} == {"gate", "frame_limit"}  # both stop reasons were compared
    assert len(ends) > 4


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_stream_equals_unstreamed_speech(voice: Synthesizer, chunk: int) -> None:
    for seed, options in ((0, SpeechOptions()), (1, SpeechOptions()), (2, SpeechOptions(gate_threshold=NEVER))):
        whole = voice.say(TEXTS[0], seed, options).samples
        samples = np.concatenate(list(voice.stream(TEXTS[0], seed, StreamOptions(2, chunk, None), options)))
        assert samples.shape == whole.shape
        np.testing.assert_allclose(samples, whole, atol=tolerances.WINDOWS * np.abs(whole).max(initial=1.0))


def test_batch_equals_single_items(voice: Synthesizer) -> None:
    batch = voice.say_batch(TEXTS, [3, 4, 5])
    for text, seed, audio in zip(TEXTS, (3, 4, 5), batch, strict=True):
        alone = voice.say(text, seed)
        np.testing.assert_array_equal(audio.samples, alone.samples)
        np.testing.assert_array_equal(audio.utterances[0].alignment, alone.utterances[0].alignment)


def test_frame_limits_are_whole_steps(voice: Synthesizer) -> None:
    r = voice.manifest.decoder.frames_per_step
    assert voice.manifest.decoder.max_frames == voice.manifest.range("F").max == 41 - 41 % r
    for frames in (r, r + 1, 13):
        options = SpeechOptions(max_frames=frames, gate_threshold=NEVER)
        assert voice.say(TEXTS[0], 0, options).utterances[0].mel.shape[1] == frames - frames % r
    with pytest.raises(RequestError, match=rf"max frames: expected {r} to {41 - 41 % r}"):
        voice.say(TEXTS[0], 0, SpeechOptions(max_frames=r - 1))


def test_frame_limit_below_one_step_is_rejected(
    tacotron2: Tacotron2, tiny_checkpoints: TinyCheckpoints, tmp_path: Path
) -> None:
    r = tacotron2.config.n_frames_per_step
    voice = read_voice_file(tiny_checkpoints.voice)
    with pytest.raises(
        ExportError, match=f"limit max-frames: expected {r}, the frames of one decoder step, to 1048576, got 1"
    ):
        export_onnx(
            tacotron2,
            load_waveglow(tiny_checkpoints.waveglow),
            tmp_path / "voice",
            voice=voice,
            limits=Limits(frames=1),
        )
