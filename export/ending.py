"""Measures how a voice ends its sentences, so that the runtime can tell an end that its gate has missed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.bundle.manifest import Ending
from ..runtime.decoder import DecodedItem
from ..runtime.noise import Noise
from ..runtime.options import SpeechOptions
from ..runtime.quality import judge, longest_run
from ..runtime.synthesizer import Synthesizer

FRAME_MARGIN = 4.0  # times the frames of the slowest sentence
REST_MARGIN = 3.0  # times the longest rest on the last token
LEAST_PATIENCE = 48  # frames: of 167 other sentences of a voice that rested 8 at most here, one rested 26
LONG = 20  # fewest tokens of a sentence whose pace is not that of its end
TRIED_FRAMES, TRIED_FRAMES_PER_TOKEN = 100, 25  # a try that exceeds them has missed its end


def measure_ending(synthesizer: Synthesizer, sentences: Sequence[str]) -> Ending | None:
    """Speak the sentences that the voice can spell, and return what is far beyond those that ended well.

    None if most of them did not end by their gate with every word said, as those of untrained weights.
    """
    good: list[tuple[DecodedItem, int]] = []
    most = synthesizer.manifest.range("T").max
    spelled = [ids for ids in map(synthesizer.front_end.lookup, sentences) if 0 < len(ids) <= most]
    for tried, ids in enumerate(sorted(spelled, key=len)):
        item = _decode(synthesizer, ids)
        letters = np.array(synthesizer.front_end.letters(ids))
        if item.stop_reason == "gate" and not judge(item.alignment[: item.mel_length], False, letters):
            good.append((item, len(ids)))
        elif 2 * len(good) < tried:
            break
    paces = [item.mel_length / tokens for item, tokens in good if tokens >= LONG]
    if not paces or 2 * len(good) < len(spelled):
        return None
    pace = max(paces)
    rests = [longest_run(item.alignment.argmax(1) == tokens - 1) for item, tokens in good]
    besides = max(item.mel_length - pace * tokens for item, tokens in good)
    return Ending(
        attention_patience=max(LEAST_PATIENCE, int(REST_MARGIN * max(rests))),
        frames=int(FRAME_MARGIN * max(besides, pace)),
        frames_per_token=FRAME_MARGIN * pace,
    )


def _decode(synthesizer: Synthesizer, ids: list[int]) -> DecodedItem:
    """Decode one sentence until its gate fires, without what an ending measured before would change."""
    limit = min(TRIED_FRAMES + TRIED_FRAMES_PER_TOKEN * len(ids), synthesizer.manifest.decoder.max_frames)
    options = SpeechOptions(max_frames=limit, retries=0, attention_stop=False).resolve(synthesizer.manifest)
    acoustic = synthesizer.acoustic
    session = acoustic.session(acoustic.encode([ids]), [Noise(0)], options)
    session.advance(options.frame_limit)
    return session.decoded.item(0)
