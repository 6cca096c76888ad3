"""The end of an utterance whose gate does not fire: at a limit by its tokens, and at a rest of the attention."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tacoglow import Synthesizer
from tacoglow.runtime.bundle.manifest import Ending
from tacoglow.runtime.bundle.reading import MANIFEST_NAME, encode_manifest, load_manifest
from tacoglow.runtime.options import SpeechOptions

TEXTS = ("Hi.", "Good day.", "How do you do?")
NEVER = 1.0 - 1e-12  # gate threshold
ENDING = Ending(attention_patience=40, frames=5, frames_per_token=1.5)  # the tiny voice's limit is 40 frames
LIMITS = [5 + 4, 5 + 13, 5 + 21]  # of 3, 9 and 14 tokens


@pytest.fixture(scope="module")
def unmeasured(tiny_bundle: Path) -> Synthesizer:
    return Synthesizer.load(tiny_bundle, "onnxruntime")


@pytest.fixture(scope="module")
def measured(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    bundle = tmp_path_factory.mktemp("measured") / "voice"
    shutil.copytree(tiny_bundle, bundle)
    manifest = load_manifest(bundle)
    manifest = msgspec.structs.replace(manifest, decoder=msgspec.structs.replace(manifest.decoder, ending=ENDING))
    (bundle / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return Synthesizer.load(bundle, "onnxruntime")


def test_untrained_weights_are_not_measured(unmeasured: Synthesizer) -> None:
    assert unmeasured.manifest.decoder.ending is None
    options = SpeechOptions().resolve(unmeasured.manifest)
    assert (options.attention_patience, options.retries, options.frame_limit_of(3, 1)) == (None, 0, 40)


def test_each_text_of_a_batch_has_the_limit_of_its_tokens(measured: Synthesizer) -> None:
    options = SpeechOptions(gate_threshold=NEVER, retries=0)
    together = measured.say_batch(TEXTS, options=options)
    assert [audio.utterances[0].mel.shape[1] for audio in together] == LIMITS
    assert {audio.stop_reason for audio in together} == {"frame_limit"}
    for text, audio in zip(TEXTS, together, strict=True):
        assert np.array_equal(measured.say(text, options=options).samples, audio.samples)
        streamed = np.concatenate(list(measured.stream(text, options=options)))
        assert len(streamed) == len(audio.samples)


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (SpeechOptions(gate_threshold=NEVER, retries=0, attention_stop=False), 40),
        (SpeechOptions(gate_threshold=NEVER, retries=0, max_frames=12), 12),
        (SpeechOptions(gate_threshold=NEVER, retries=0, max_frames=40), LIMITS[1]),
    ],
)
def test_what_limits_an_utterance(measured: Synthesizer, options: SpeechOptions, frames: int) -> None:
    assert measured.say(TEXTS[1], options=options).utterances[0].mel.shape[1] == frames


def test_a_limit_is_in_whole_steps(measured: Synthesizer) -> None:
    options = SpeechOptions().resolve(measured.manifest)
    assert [options.frame_limit_of(tokens, 4) for tokens in (1, 3, 9, 1000)] == [4, 8, 16, 40]
