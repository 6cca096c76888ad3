"""The synthesizer with a tiny exported voice: batches, windows, limits, seeds."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.errors import BackendError, RequestError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions
from tacoglow.runtime.output.audio import Audio
from tacoglow.runtime.output.wav_writer import to_int16
from tacoglow.runtime.synthesizer import SpeechWarning
from tacoglow.runtime.vocoder import Samples, Vocoder
from tacoglow.tests import tolerances
from tacoglow.text import DroppedSymbolWarning

MID_LIMIT = 5  # frames; some of the tiny voice's utterances end earlier, some do not
TEXTS = ["Hello world.", "I missed you, and the rest.", "No.", "A longer sentence than these."]


def assert_same(a: Audio, b: Audio) -> None:
    for one, other in zip(a.utterances, b.utterances, strict=True):
        assert one.stop_reason == other.stop_reason
        np.testing.assert_array_equal(one.mel, other.mel)
        np.testing.assert_array_equal(one.alignment, other.alignment)
        np.testing.assert_array_equal(one.samples, other.samples)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(TEXTS), st.integers(0, 50)), min_size=1, max_size=7),
    st.sampled_from([MID_LIMIT, 40]),
)
def test_batch_equals_single_items(voice: Synthesizer, items: list[tuple[str, int]], limit: int) -> None:
    options = SpeechOptions(max_frames=limit)
    batch = voice.say_batch([text for text, _ in items], [seed for _, seed in items], options)
    for audio, (text, seed) in zip(batch, items, strict=True):
        assert_same(audio, voice.say(text, seed, options))


def test_texts_reach_both_stop_reasons(voice: Synthesizer) -> None:
    """Check that the test above is not vacuous: both stop reasons occur, at different lengths."""
    options = SpeechOptions(max_frames=MID_LIMIT)
    utterances = [voice.say(text, seed, options).utterances[0] for text in TEXTS for seed in range(6)]
    assert {utterance.stop_reason for utterance in utterances} == {"gate", "frame_limit"}
    assert len({utterance.mel.shape[1] for utterance in utterances}) > 3


def test_utterance_contains_the_frames_before_the_gate(voice: Synthesizer) -> None:
    hop = voice.manifest.audio.hop_length
    for seed in range(8):
        utterance = voice.say(TEXTS[1], seed).utterances[0]
        frames = utterance.mel.shape[1]
        assert utterance.alignment.shape == (frames, len(utterance.token_ids))
        assert utterance.samples.shape == (frames * hop,)
        assert (utterance.gate <= voice.manifest.decoder.gate_threshold).all()
        np.testing.assert_allclose(utterance.alignment.sum(1), 1.0, atol=1e-5)


def test_speech_depends_on_the_seed(voice: Synthesizer) -> None:
    one, again, other = (voice.say(TEXTS[0], seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.samples.shape != other.samples.shape or not np.array_equal(one.samples, other.samples)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 1000), st.sampled_from([0.0, 0.3]))
def test_vocoder_windows_equal_one_window(
    voice: Synthesizer, frames: int, window: int, seed: int, strength: float
) -> None:
    mel = np.random.default_rng(seed).normal(-4, 2, (voice.manifest.audio.n_mel_channels, frames)).astype(np.float32)
    options = SpeechOptions(denoise=strength).resolve(voice.manifest)
    whole = Vocoder(voice.backend, frames).samples(mel, Noise(seed), options)
    windows = Vocoder(voice.backend, window).samples(mel, Noise(seed), options)
    np.testing.assert_allclose(windows, whole, atol=tolerances.WINDOWS * max(1.0, np.abs(whole).max()))


def test_long_text_is_split_without_losing_text(voice: Synthesizer) -> None:
    text = "One sentence is short. Another one is a little longer than that. And a third one follows it."
    audio = voice.say(text)
    assert len(audio.utterances) > 2
    assert " ".join(utterance.text for utterance in audio.utterances) == text
    limit = voice.manifest.range("T").max
    assert all(len(utterance.token_ids) <= limit for utterance in audio.utterances)
    assert len(audio.samples) > sum(len(utterance.samples) for utterance in audio.utterances)


def test_dropped_symbols_are_warned_of_once_and_kept(voice: Synthesizer) -> None:
    text = "Hi ☃, {XX} ☃. " * 3
    for speak in (voice.say, lambda text: voice.say_batch([text])[0], voice.stream):
        with pytest.warns(DroppedSymbolWarning, match="'☃', phone 'XX'") as caught:
            spoken = speak(text)
        assert len([warning for warning in caught if warning.category is DroppedSymbolWarning]) == 1
        assert spoken.dropped == ("☃", "{XX}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DroppedSymbolWarning)
        (_, audio), *_ = voice.say_each([text])
        split = voice.split(text, SpeechOptions())
        with voice.stream(split) as stream:
            next(stream)
    assert audio.dropped == split.dropped == stream.dropped == ("☃", "{XX}")


def test_frame_limit_warning_suggests_a_fix(voice: Synthesizer) -> None:
    with pytest.warns(SpeechWarning, match=r"not fired within 2 frames.*another --seed"):
        audio = voice.say(TEXTS[0], options=SpeechOptions(max_frames=2, gate_threshold=0.9999))
    assert audio.utterances[0].stop_reason == "frame_limit"


def test_sigma_and_denoise_change_only_the_audio(voice: Synthesizer) -> None:
    plain = voice.say(TEXTS[0]).utterances[0]
    for options in (SpeechOptions(sigma=0.0), SpeechOptions(denoise=0.5)):
        changed = voice.say(TEXTS[0], options=options).utterances[0]
        np.testing.assert_array_equal(changed.mel, plain.mel)
        assert not np.array_equal(changed.samples, plain.samples)


def test_wrong_buffer_is_reported_by_name(voice: Synthesizer) -> None:
    runner = voice.backend.open("encoder")
    ids = np.ones((1, 3), np.int32)
    with pytest.raises(
        RequestError, match=r"encoder: token_lengths: expected a contiguous int32 \[B\], got int64 \[1\]"
    ):
        runner.run(token_ids=ids, token_lengths=np.ones(1, np.int64))
    with pytest.raises(RequestError, match=r"encoder: T is 41, this bundle accepts 1 to 40"):
        runner.run(token_ids=np.ones((1, 41), np.int32), token_lengths=np.full(1, 41, np.int32))
    with pytest.raises(RequestError, match=r"encoder: token_lengths: expected .* got int32 \[2\]"):
        runner.run(token_ids=ids, token_lengths=np.ones(2, np.int32))


def test_nan_audio_is_rejected(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Samples:
        return np.full(100_000, np.nan, np.float32)

    monkeypatch.setattr(Vocoder, "_generate", broken)
    with pytest.raises(BackendError, match="NaN or Inf: the weights or the backend are faulty"):
        voice.say(TEXTS[0])
    half = msgspec.structs.replace(voice.manifest, precision="fp16")
    monkeypatch.setattr(voice.vocoder, "manifest", half)
    with pytest.raises(BackendError, match=r"NaN or Inf: the range of fp16 is too small.*bf16 or fp32"):
        voice.say(TEXTS[0])


def test_int16_clips_and_rounds() -> None:
    samples = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0], np.float32)
    assert to_int16(samples).tolist() == [-32767, -32767, 0, 16384, 32767, 32767]
