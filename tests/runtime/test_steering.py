"""Speaking rate, volume, silence between sentences and pauses in the text: whole, in batches and in streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tacoglow import Synthesizer
from tacoglow.runtime.decoder import DecodedBatch
from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.output.trimming import trim_silence
from tacoglow.runtime.scheduling.scheduler import Scheduler
from tacoglow.runtime.stretch import frames_needed, stretch, stretched_frames
from tacoglow.tests import tolerances
from tacoglow.text import TextError, sequence_to_text, split_at_pauses

TEXT = "I missed you, and the rest."
TWO = "It is short. The other one follows!"
ENDLESS = 1.0 - 1e-12  # gate threshold that is never reached: every utterance has 40 frames

FIELD = 6  # frames of each side that are more than the tiny voice's WaveGlow sees

rates = st.one_of(st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0]), st.floats(0.5, 2.0))


def interpolated(mel: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """The mel at positions 0, rate, 2 * rate, …, as NumPy interpolates; as long as frames / rate, rounded half up."""
    frames = mel.shape[1]
    positions = np.arange(max(int(np.floor(frames / rate + 0.5)), 1)) * rate
    return np.array([np.interp(positions, np.arange(frames), band) for band in mel], np.float32)


def vocode_in_halves(voice: Synthesizer, mel: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """The samples of a mel of up to 80 frames, from windows within the tiny voice's limit of 40, by absolute z."""
    hop, frames = voice.manifest.audio.hop_length, mel.shape[1]
    graph, groups = voice.backend.open("waveglow"), hop // 8
    parts = []
    for start in range(0, frames, 20):
        stop = min(start + 20, frames)
        first, last = max(0, start - FIELD), min(frames, stop + FIELD)
        z = Noise(seed).z(first * groups, (last - first) * groups, 8) * np.float32(0.2)  # the tiny voice's sigma
        audio = graph.run(mel=np.ascontiguousarray(mel[None, :, first:last]), z=z[None])["audio"][0]
        parts.append(audio[(start - first) * hop : (stop - first) * hop])
    return np.concatenate(parts)


@given(st.integers(1, 60), rates)
def test_stretched_mel_is_interpolated(frames: int, rate: float) -> None:
    mel = np.random.RandomState(frames).uniform(-11, 2, (3, frames)).astype(np.float32)
    np.testing.assert_allclose(stretch(mel, rate), interpolated(mel, rate), atol=2e-6)


@given(st.integers(2, 60), rates, st.data())
def test_part_of_the_stretched_mel_needs_only_the_frames_stated(frames: int, rate: float, data: st.DataObject) -> None:
    mel = np.random.RandomState(frames).uniform(-11, 2, (3, frames)).astype(np.float32)
    stop = data.draw(st.integers(1, stretched_frames(frames, rate)))
    start = data.draw(st.integers(0, stop - 1))
    known = mel[:, : frames_needed(stop, rate)]
    np.testing.assert_array_equal(stretch(known, rate, start, stop), stretch(mel, rate)[:, start:stop])


def test_rate_stretches_the_mel_before_the_vocoder(voice: Synthesizer) -> None:
    mel = voice.say(TEXT, seed=4, options=SpeechOptions(gate_threshold=ENDLESS)).utterances[0].mel
    assert mel.shape[1] == 40
    for rate, frames in [(0.5, 80), (0.8, 50), (1.3, 31), (2.0, 20)]:
        audio = voice.say(TEXT, seed=4, options=SpeechOptions(gate_threshold=ENDLESS, rate=rate))
        expected = vocode_in_halves(voice, interpolated(mel, rate), seed=4)
        assert len(audio.samples) == frames * voice.manifest.audio.hop_length
        np.testing.assert_allclose(audio.samples, expected, atol=tolerances.WINDOWS)
        np.testing.assert_array_equal(audio.utterances[0].mel, mel)
        np.testing.assert_array_equal(voice.vocode(mel, 4, SpeechOptions(rate=rate)).samples, audio.samples)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([TEXT, f"{TWO} [pause 0.1s] {TEXT}", "No."]),
    rates,
    st.integers(0, 100),
    st.integers(1, 15),
    st.integers(1, 15),
    st.sampled_from([0.45, 0.8, ENDLESS]),
    st.sampled_from([0.0, 0.4]),
)
def test_stream_equals_whole_speech(
    voice: Synthesizer, text: str, rate: float, seed: int, first: int, chunk: int, threshold: float, denoise: float
) -> None:
    options = SpeechOptions(
        gate_threshold=threshold, denoise=denoise, rate=rate, volume=0.7, sentence_silence=0.2, max_frames=24
    )
    whole = voice.say(text, seed, options).samples
    samples = np.concatenate(list(voice.stream(text, seed, StreamOptions(first, chunk, None), options)))
    assert samples.shape == whole.shape
    np.testing.assert_allclose(samples, whole, atol=tolerances.WINDOWS * max(1.0, np.abs(whole).max()))


def test_batch_equals_texts_alone(voice: Synthesizer) -> None:
    options = SpeechOptions(rate=0.7, volume=2.0, sentence_silence=0.1)
    texts = [TEXT, TWO, "Wait [pause 0.3s] here.", "No."]
    for text, audio in zip(texts, voice.say_batch(texts, [1, 2, 3, 4], options), strict=True):
        alone = voice.say(text, texts.index(text) + 1, options)
        np.testing.assert_allclose(audio.samples, alone.samples, atol=tolerances.WINDOWS)


def test_stream_decodes_no_more_than_a_segment_needs(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    record = DecodedBatch.record

    def record_and_count(batch: DecodedBatch, chunk: Any) -> None:
        decoded.append(batch.frame)
        record(batch, chunk)

    monkeypatch.setattr(DecodedBatch, "record", record_and_count)
    seen = 2 + voice.manifest.vocoder.frames_after  # stretched frames behind the first segment
    for rate, frames in [(2.0, 2 * (seen - 1) + 1), (0.5, -(-(seen - 1) // 2) + 1)]:
        decoded.clear()
        options = SpeechOptions(gate_threshold=ENDLESS, rate=rate)
        with voice.stream(TEXT, 0, StreamOptions(2, context_frames=None), options) as stream:
            assert len(next(stream)) == 2 * voice.manifest.audio.hop_length
        assert len(decoded) == min(40, frames + voice.manifest.decoder.postnet_frames)


def test_volume_is_a_factor_of_the_samples(voice: Synthesizer) -> None:
    plain = voice.say(TEXT, 2).samples
    for volume in (0.0, 0.25, 3.0):
        options = SpeechOptions(volume=volume)
        np.testing.assert_array_equal(voice.say(TEXT, 2, options).samples, plain * np.float32(volume))


def test_sentence_silence_is_between_sentences(voice: Synthesizer) -> None:
    assert len(voice.say(TWO).utterances) == 1
    audio = voice.say(TWO, options=SpeechOptions(sentence_silence=0.25))
    first, second = audio.utterances
    assert (first.text, second.text) == ("It is short.", "The other one follows!")
    silent = audio.samples[len(first.samples) : second.start]
    assert len(silent) == audio.sampling_rate // 4
    assert not silent.any()
    assert len(audio.samples) == len(first.samples) + len(silent) + len(second.samples)
    together = voice.say(TWO, options=SpeechOptions(sentence_silence=0.0)).samples
    assert len(together) == len(first.samples) + len(second.samples)


def test_pauses_in_the_text_are_silent(voice: Synthesizer) -> None:
    audio = voice.say("[pause 0.1s] It is [pause 250ms] [PAUSE 1] short [pause .5 s].")
    assert [utterance.text.strip() for utterance in audio.utterances] == ["It is", "short."]
    first, second = audio.utterances
    rate = audio.sampling_rate
    assert first.start == rate // 10
    assert second.start - first.start - len(first.samples) == rate * 5 // 4
    end = second.start + len(second.samples)
    assert len(audio.samples) - end == rate // 2
    for gap in (audio.samples[: first.start], audio.samples[end:]):
        assert not gap.any()
    assert voice.front_end.encode("short.") == list(second.token_ids)


@pytest.mark.parametrize(
    ("text", "before", "parts"),
    [
        ("One.", 0.0, [("One.", 0.0)]),
        ("One. [pause 2s] Two.", 0.0, [("One. ", 2.0), (" Two.", 0.0)]),
        ("[pause 1s][pause 10]One", 11.0, [("One", 0.0)]),
        ("One [pause 1s] , [pause 500ms] two", 0.0, [("One,", 1.5), (" two", 0.0)]),
        ("[pause for applause] [paused 3s] [pause]", 0.0, [("[pause for applause] [paused 3s] [pause]", 0.0)]),
        ("[pause 1s]", 1.0, []),
        ("Wait [pause:0.5s] go [PAUSE: 250ms] on[pause:1].", 0.0, [("Wait ", 0.5), (" go ", 0.25), (" on.", 1.0)]),
        (
            "[pause:] [pause:for it] [pause::1s] [pause :1s]",
            0.0,
            [("[pause:] [pause:for it] [pause::1s] [pause :1s]", 0.0)],
        ),
        ("", 0.0, [("", 0.0)]),
    ],
)
def test_marks_of_pauses(text: str, before: float, parts: list[tuple[str, float]]) -> None:
    """Also as Kokoro's users write them (Kokoro-FastAPI#161)."""
    paused = split_at_pauses(text)
    assert paused.before == before
    assert [(part.text, part.pause) for part in paused.parts] == parts


@pytest.mark.parametrize("length", ["11s", "-1s", "1 minute", "20000ms", "1e3", "0.5.5s", "+1s"])
def test_pause_of_another_length_is_rejected(length: str) -> None:
    with pytest.raises(TextError, match=r"expected 0 to 10 seconds, as in \[pause 0.5s\]"):
        split_at_pauses(f"One [pause {length}] two")


def test_text_of_pauses_only_is_rejected(voice: Synthesizer) -> None:
    with pytest.raises(TextError, match="the text is empty"):
        voice.say("[pause 1s]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.49}, "rate: expected a number from 0.5 to 2, got 0.49"),
        ({"rate": float("nan")}, "rate: expected a number from 0.5 to 2, got nan"),
        ({"volume": -0.1}, "volume: expected a number from 0 to 4, got -0.1"),
        ({"volume": float("inf")}, "volume: expected a number from 0 to 4, got inf"),
        ({"sentence_silence": 10.5}, "sentence silence: expected a number from 0 to 10 seconds, got 10.5"),
        ({"sentence_silence": float("nan")}, "sentence silence: expected a number from 0 to 10 seconds, got nan"),
    ],
)
def test_options_out_of_range_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        SpeechOptions(**options)


def test_options_by_name_replace_those_given(voice: Synthesizer) -> None:
    options = SpeechOptions(gate_threshold=ENDLESS, rate=0.5, volume=2.0)
    expected = voice.say(TEXT, 3, SpeechOptions(gate_threshold=ENDLESS, rate=1.25, volume=2.0)).samples
    np.testing.assert_array_equal(voice.say(TEXT, 3, options, rate=1.25).samples, expected)
    np.testing.assert_array_equal(voice.say_batch([TEXT], [3], options, rate=1.25)[0].samples, expected)
    by_name = voice.say(TEXT, 3, gate_threshold=ENDLESS, rate=1.25, volume=2.0).samples
    np.testing.assert_array_equal(by_name, expected)
    whole = StreamOptions(context_frames=None)
    streamed = np.concatenate(list(voice.stream(TEXT, 3, whole, options, rate=1.25)))
    np.testing.assert_allclose(streamed, expected, atol=tolerances.WINDOWS)


def test_unknown_and_wrong_options_by_name(voice: Synthesizer) -> None:
    for speak in (voice.say, voice.stream, lambda text, **changes: voice.say_batch([text], **changes)):
        with pytest.raises(TypeError, match=r"^speed: not a speech option; the options are sigma, .*, rate, volume, "):
            speak(TEXT, speed=1.2)
        with pytest.raises(RequestError, match=r"rate: expected a number from 0\.5 to 2, got 3"):
            speak(TEXT, rate=3)


def test_ssml_speaks_its_parts_at_their_own_rate_and_volume(voice: Synthesizer) -> None:
    document = "<speak>One two. <break time='1s'/><prosody rate='50%' volume='25'>Three four.</prosody></speak>"
    audio = voice.say(document, ssml=True, max_frames=20)
    plain = voice.say("One two. [pause 1s] Three four.", max_frames=20)
    assert [utterance.token_ids for utterance in audio.utterances] == [u.token_ids for u in plain.utterances]
    first, second = audio.utterances
    np.testing.assert_array_equal(first.samples, plain.utterances[0].samples)
    assert (first.rate, second.rate) == (1.0, 0.5)
    slow = voice.say("One two. [pause 1s] Three four.", max_frames=20, rate=0.5).utterances[1]
    np.testing.assert_array_equal(second.samples, slow.samples * np.float32(0.25))
    assert second.start == len(first.samples) + audio.sampling_rate
    streamed = voice.stream(document, ssml=True, max_frames=20, segments=StreamOptions(context_frames=None))
    np.testing.assert_allclose(np.concatenate(list(streamed)), audio.samples, atol=1e-5)


def test_lexicon_of_a_request(voice: Synthesizer) -> None:
    said = voice.say("Mr. Nguyen.", lexicon={"Nguyen": "win"}, max_frames=20)
    assert said.utterances[0].token_ids == tuple(voice.front_end.encode("Mr. win."))


def test_notations_are_read_for_voices_that_speak_english(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = Synthesizer.load(tiny_bundle, "onnxruntime")
    voice.read_notations()
    assert sequence_to_text(voice.front_end.encode("0.05%"), voice.front_end.symbols) == "zero point zero five percent"
    german = msgspec.structs.replace(voice.manifest.voice, language="de-DE")
    other = Synthesizer.load(tiny_bundle, "onnxruntime")
    monkeypatch.setattr(other, "manifest", msgspec.structs.replace(voice.manifest, voice=german))
    other.read_notations()
    assert other.front_end.cleaners == ("english_cleaners",)


ENDS = "[pause 0.3s] I missed you. [pause 0.5s] [pause 0.2s]"


@pytest.mark.parametrize(
    "text", [ENDS, TWO, "[pause 0.1s] It is short. [pause 0.4s] The other one follows! [pause 1s]"]
)
def test_silence_at_both_ends_is_left_out(tiny_bundle: Path, text: str) -> None:
    """Of complete speech, of a stream and of the scheduler's, with the times of words beside it."""
    voice = Synthesizer.load(tiny_bundle, "onnxruntime", threads=1)
    rate, segments = voice.manifest.audio.sampling_rate, StreamOptions(context_frames=None)
    whole, trimmed = (
        voice.say(text, 3, gate_threshold=ENDLESS, retries=0, trim_silence=trims) for trims in (False, True)
    )
    expected, lead = trim_silence(whole.samples, rate)
    assert len(expected) < len(whole.samples) or text == TWO
    np.testing.assert_array_equal(trimmed.samples, expected)
    with voice.stream(text, 3, segments, timestamps=True, gate_threshold=ENDLESS, trim_silence=True) as stream:
        streamed = np.concatenate(list(stream))
    np.testing.assert_allclose(streamed, expected, atol=tolerances.WINDOWS)
    assert stream.position == len(expected)
    moments = [max(word.start - lead / rate, 0.0) for word in whole.words]
    assert [word.start for word in trimmed.words] == pytest.approx(moments)
    assert [word.start for word in stream.words] == pytest.approx(moments)


def test_the_scheduler_leaves_out_the_same_silence(tiny_bundle: Path) -> None:
    voice, options = (
        Synthesizer.load(tiny_bundle, "onnxruntime", threads=1),
        SpeechOptions(trim_silence=True, retries=0),
    )
    with Scheduler(voice) as scheduler:
        whole = scheduler.submit(ENDS, 3, options).result(60.0)
        handle = scheduler.submit(ENDS, 3, options, StreamOptions())
        segments = np.concatenate(list(handle.segments()))
    expected = voice.say(ENDS, 3, options)
    np.testing.assert_array_equal(whole.samples, expected.samples)
    np.testing.assert_array_equal(handle.result(60.0).samples, segments)
    np.testing.assert_array_equal(segments, np.concatenate(list(voice.stream(ENDS, 3, options=options))))
    assert [utterance.start for utterance in handle.result(60.0).utterances] == [u.start for u in expected.utterances]
