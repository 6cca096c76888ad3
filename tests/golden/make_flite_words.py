"""Writes flite_words.json: when Flite says that its slt voice speaks each word of the sentences in flite_mels.npz.

    python tests/golden/make_flite_words.py        # needs Debian's flite, and pocketsphinx

Times are in seconds from the beginning of the stored mel, whose silence at both ends is trimmed.
"""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise

import numpy as np

from tacoglow.tests.golden.make_flite_mels import GOLDEN, SILENCE_MARGIN, VOICE, speak


def segments(text: str) -> list[tuple[str, float]]:
    """Flite's phones and when each ends, in seconds; "pau" is silence."""
    command = ["flite", "-voice", "slt", "-psdur", "-t", text, "-o", "none"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [(name, float(end)) for name, end in re.findall(r"(\w+):([0-9.]+)", output)]


def word_times(sentence: str) -> list[tuple[str, float, float]] | None:
    """(word, start, end) of each word; None if the words alone have not as many phones as the sentence."""
    words = sentence.split()
    counts = [sum(name != "pau" for name, _ in segments(word)) for word in words]
    labels = [("pau", 0.0), *segments(sentence)]
    spoken = [(before[1], label[1]) for before, label in pairwise(labels) if label[0] != "pau"]
    if sum(counts) != len(spoken):
        return None
    firsts = np.cumsum([0, *counts])
    return [
        (word, spoken[first][0], spoken[stop - 1][1])
        for word, (first, stop) in zip(words, pairwise(firsts), strict=True)
    ]


def main() -> None:
    content = []
    with np.load(GOLDEN / "flite_mels.npz") as golden:
        sentences = [str(sentence) for sentence in golden["sentences"]]
    for i, sentence in enumerate(sentences):
        times = word_times(sentence)
        if times is not None:
            loud = np.flatnonzero(np.abs(speak(sentence)) > 0.01)[0] / VOICE["audio"]["sampling_rate"]
            cut = max(0.0, loud - SILENCE_MARGIN)
            rounded = [(word, round(start - cut, 3), round(end - cut, 3)) for word, start, end in times]
            content.append({"mel": i, "text": sentence, "words": rounded})
    lines = ",\n".join(json.dumps(entry) for entry in content)
    (GOLDEN / "flite_words.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(content)} of {len(sentences)} sentences")


if __name__ == "__main__":
    main()
