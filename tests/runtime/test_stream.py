"""Streams compared with unstreamed speech, batches, long texts, stop conditions, cancellation."""

from __future__ import annotations

import copy
import gc
import itertools
import sys
import time
import tracemalloc
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import ATTENTION_PATIENCE, DimRange, Manifest
from tacoglow.runtime.decoder import Chunk, DecodedBatch
from tacoglow.runtime.errors import Cancelled, DeadlineExceeded, RequestError
from tacoglow.runtime.noise import Noise
from tacoglow.runtime.options import SpeechOptions, StreamOptions
from tacoglow.runtime.pieces import FADE_SECONDS, apply_fades, pause_after, split_into_pieces
from tacoglow.runtime.synthesizer import SpeechWarning
from tacoglow.tests import tolerances

TEXT = "I missed you, and the rest."
LONG = "One sentence is short. Another one, a little longer, is here! And a third: it follows? Yes."
FOREVER = SpeechOptions(gate_threshold=1.0 - 1e-12)  # the gate never fires: every utterance has 40 frames


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([TEXT, LONG, "No."]),
    st.integers(0, 100),
    st.integers(1, 15),
    st.integers(1, 15),
    st.sampled_from([None, 1000]),
    st.sampled_from([0.5, 0.8, 1.0 - 1e-12]),
    st.sampled_from([0.0, 0.4]),
)
def test_stream_equals_unstreamed_speech(
    voice: Synthesizer,
    text: str,
    seed: int,
    first: int,
    chunk: int,
    context: int | None,
    threshold: float,
    strength: float,
) -> None:
    options = SpeechOptions(gate_threshold=threshold, denoise=strength)
    whole = voice.say(text, seed, options)
    stream = voice.stream(text, seed, StreamOptions(first, chunk, context), options)
    samples = np.concatenate(list(stream))
    assert stream.stop_reasons == [utterance.stop_reason for utterance in whole.utterances]
    assert samples.shape == whole.samples.shape
    np.testing.assert_allclose(samples, whole.samples, atol=tolerances.WINDOWS * max(1.0, np.abs(samples).max()))


def test_less_context_changes_samples_but_not_length(voice: Synthesizer) -> None:
    whole = voice.say(TEXT, options=FOREVER).samples
    samples = np.concatenate(list(voice.stream(TEXT, 0, StreamOptions(8, 4, 0), FOREVER)))
    assert samples.shape == whole.shape
    assert np.abs(samples - whole).max() > 100 * tolerances.WINDOWS


def test_segments_are_yielded_before_the_rest_is_decoded(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    record = DecodedBatch.record

    def record_and_count(batch: DecodedBatch, chunk: Chunk) -> None:
        decoded.append(batch.frame)
        record(batch, chunk)

    monkeypatch.setattr(DecodedBatch, "record", record_and_count)
    hop, context = voice.manifest.audio.hop_length, voice.manifest.decoder.postnet_frames
    after = voice.manifest.vocoder.frames_after
    stream = voice.stream(TEXT, 0, StreamOptions(2, 6, None), FOREVER)
    assert len(next(stream)) == 2 * hop
    assert len(decoded) == 2 + after + context
    assert len(next(stream)) == 4 * hop  # segments double up to the later ones' size
    assert len(decoded) == 2 + 4 + after + context
    assert len(next(stream)) == 6 * hop
    assert len(decoded) == 2 + 4 + 6 + after + context
    assert len(next(stream)) == 6 * hop


@pytest.mark.full
def test_stream_memory_does_not_grow_with_the_text(voice: Synthesizer) -> None:
    """The stream's peak memory for 50 repeats of a text is that for 5 repeats, up to about a segment."""
    peaks = []
    for repeats in (5, 50):
        text = " ".join([LONG] * repeats)
        gc.collect()
        tracemalloc.start()
        for _ in voice.stream(text):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    text_bytes = 40 * sys.getsizeof(LONG) * 50  # the pieces as strings, and the memory that splitting needs
    assert peaks[1] < 1.2 * peaks[0] + text_bytes


@pytest.mark.full
def test_abandoned_streams_free_their_memory(voice: Synthesizer) -> None:
    def abandon(count: int) -> None:
        for seed in range(count):
            with voice.stream(TEXT, seed, StreamOptions(1), FOREVER) as stream:
                next(stream)

    expected = voice.say(TEXT).samples
    abandon(50)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    abandon(150)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 100_000  # bytes; a stream that is not freed keeps its mel, attention and noise: thousands
    np.testing.assert_array_equal(voice.say(TEXT).samples, expected)


def test_cancelled_request_leaves_voice_usable(voice: Synthesizer) -> None:
    expected = voice.say(LONG).samples
    for after in (0, 1, 3):
        with pytest.raises(Cancelled):
            voice.say(LONG, options=cancelled_after(after))
        with pytest.raises(Cancelled):
            list(voice.stream(LONG, options=cancelled_after(after)))
    np.testing.assert_array_equal(voice.say(LONG).samples, expected)


def cancelled_after(n: int) -> SpeechOptions:
    """Options whose `cancelled` returns true after n calls."""
    calls = itertools.count()
    return SpeechOptions(cancelled=lambda: next(calls) >= n)


def test_deadline_that_has_passed_ends_a_request(voice: Synthesizer) -> None:
    expected = voice.say(TEXT).samples
    with pytest.raises(DeadlineExceeded):
        voice.say(TEXT, deadline=time.monotonic() - 1.0)
    with pytest.raises(DeadlineExceeded):
        list(voice.stream(TEXT, deadline=time.monotonic() - 1.0))
    np.testing.assert_array_equal(voice.say(TEXT, deadline=time.monotonic() + 3600.0).samples, expected)


def test_retries_use_new_noise(voice: Synthesizer) -> None:
    """With a frame limit that some seeds reach, retries find noise with which the gate fires."""
    lengths = {seed: voice.say(TEXT, seed).utterances[0].mel.shape[1] for seed in range(12)}
    limit = sorted(lengths.values())[len(lengths) // 2] + 1
    limited = [seed for seed, length in lengths.items() if length >= limit]
    assert limited
    with pytest.warns(SpeechWarning):
        plain = voice.say_batch([TEXT] * len(limited), limited, SpeechOptions(max_frames=limit))
    assert {audio.stop_reason for audio in plain} == {"frame_limit"}
    retried = voice.say_batch([TEXT] * len(limited), limited, SpeechOptions(max_frames=limit, retries=20))
    assert {audio.stop_reason for audio in retried} == {"gate"}
    # A retry uses the utterance's next noise, regardless of the batch.
    ids = voice.front_end.encode(TEXT)
    for seed, audio in zip(limited, retried, strict=True):
        options = SpeechOptions(max_frames=limit)
        attempts = (voice.speak_ids([ids], [Noise(seed).for_attempt(k)], options)[0] for k in range(1, 21))
        ended = next(utterance for utterance in attempts if utterance.stop_reason == "gate")
        np.testing.assert_array_equal(audio.samples, ended.samples)


def test_segment_longer_than_a_window_is_rejected(voice: Synthesizer) -> None:
    with pytest.raises(RequestError, match="segment frames: expected at most 768, a vocoder window, got 769"):
        voice.stream(TEXT, segments=StreamOptions(segment_frames=769))


def test_stream_rejects_retries(voice: Synthesizer) -> None:
    with pytest.raises(RequestError, match="retries: a stream cannot take back"):
        voice.stream(TEXT, options=SpeechOptions(retries=1))


def test_attention_stop(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate never fires; from frame 5 on, the attention is set to the last token."""
    ids = voice.front_end.encode(TEXT)
    record = DecodedBatch.record

    def record_attention_at_end(batch: DecodedBatch, chunk: Chunk) -> None:
        weights = np.zeros_like(chunk.attention_weights)
        weights[:, :, len(ids) - 1 if batch.frame >= 5 else 0] = 1.0
        record(batch, replace(chunk, attention_weights=weights))

    monkeypatch.setattr(DecodedBatch, "record", record_attention_at_end)
    options = SpeechOptions(gate_threshold=FOREVER.gate_threshold, attention_stop=True)
    audio = voice.say(TEXT, options=options)
    assert audio.stop_reason == "attention_end"
    assert audio.utterances[0].mel.shape[1] == 5 + ATTENTION_PATIENCE
    assert voice.say(TEXT, options=FOREVER).stop_reason == "frame_limit"


def test_attention_stop_is_final(voice: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two items, the first one's attention stays at the end, then leaves it while the other item continues."""
    ids = [voice.front_end.encode("Hello, you."), voice.front_end.encode("Hello, me.")]
    record = DecodedBatch.record

    def record_attention_leaving_end(batch: DecodedBatch, chunk: Chunk) -> None:
        weights = np.zeros_like(chunk.attention_weights)
        weights[:, :, 0] = 1.0
        if 2 <= batch.frame < 2 + ATTENTION_PATIENCE:
            weights[:, 0] = np.eye(weights.shape[2])[len(ids[0]) - 1]
        record(batch, replace(chunk, attention_weights=weights))

    monkeypatch.setattr(DecodedBatch, "record", record_attention_leaving_end)
    options = SpeechOptions(gate_threshold=FOREVER.gate_threshold, attention_stop=True)
    with pytest.warns(SpeechWarning):
        first, second = voice.speak_ids(ids, [Noise(0), Noise(1)], options)
    assert (first.stop_reason, first.mel.shape[1]) == ("attention_end", 2 + ATTENTION_PATIENCE)
    assert (second.stop_reason, second.mel.shape[1]) == ("frame_limit", 40)


def test_pauses_follow_punctuation(voice: Synthesizer) -> None:
    limit = voice.manifest.range("T").max
    pieces = split_into_pieces(voice.front_end, LONG, limit).pieces
    assert " ".join(piece.text for piece in pieces) == LONG
    assert [piece.pause > 0 for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert pause_after("End.") > pause_after("clause;") > pause_after("comma,") > pause_after("word") > 0.0
    assert pause_after('"Quoted."') == pause_after("End.")


def test_only_seams_between_pieces_fade(voice: Synthesizer) -> None:
    audio = voice.say(LONG)
    rate, position = audio.sampling_rate, 0
    fade = int(FADE_SECONDS * rate)
    for i, utterance in enumerate(audio.utterances):
        spoken = audio.samples[position : position + len(utterance.samples)]
        np.testing.assert_array_equal(spoken[fade:-fade], utterance.samples[fade:-fade])
        if i > 0:
            assert spoken[0] == 0.0
        if i < len(audio.utterances) - 1:
            assert spoken[-1] == 0.0
        position += len(spoken) + int(pause_after(utterance.text) * rate)


def test_fades_rise_linearly_over_5_ms() -> None:
    rate = 20_000
    faded = apply_fades(np.ones(1000, np.float32), rate, True, True)
    np.testing.assert_allclose(faded[:100], np.arange(100) / 100, atol=1e-6)
    np.testing.assert_array_equal(faded[100:900], 1.0)
    np.testing.assert_allclose(faded[900:], np.arange(100, 0, -1) / 100 - 0.01, atol=1e-6)


def test_fades_of_short_samples() -> None:
    assert apply_fades(np.ones(3, np.float32), 22050, True, True).shape == (3,)
    assert apply_fades(np.zeros(0, np.float32), 22050, True, True).shape == (0,)


def limits(voice: Synthesizer, max_batch: int) -> Manifest:
    """The voice's manifest with limits of 256 tokens and max_batch items."""
    ranges = {"T": DimRange(min=1, typical=1, max=256), "B": DimRange(min=1, typical=1, max=max_batch)}
    return msgspec.structs.replace(voice.manifest, dimensions=voice.manifest.dimensions | ranges)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 100), st.integers(1, 256), max_size=40), st.integers(1, 8))
def test_batches_contain_each_item_once_and_one_bucket(
    voice: Synthesizer, lengths: dict[int, int], max_batch: int
) -> None:
    manifest, acoustic = limits(voice, max_batch), copy.copy(voice.acoustic)
    acoustic.manifest = manifest
    batches = acoustic.group_into_batches(lengths)
    assert sorted(i for batch in batches for i in batch) == sorted(lengths)
    for batch in batches:
        assert len(batch) <= max_batch
        assert len({manifest.token_bucket(lengths[i]) for i in batch}) == 1
        assert all(lengths[i] <= manifest.token_bucket(lengths[i]) <= 256 for i in batch)


@pytest.mark.parametrize("options", [{"segment_frames": 0}, {"first_segment_frames": 0}, {"context_frames": -1}])
def test_stream_options_out_of_range_are_rejected(options: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="frames: expected"):
        StreamOptions(**options)
