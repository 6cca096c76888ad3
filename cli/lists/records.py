"""The record of what a list's folder holds, `spoken.jsonl`: one line of JSON for each finished file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.bundle.reading import file_sha256

if TYPE_CHECKING:
    from ...runtime.options import SpeechOptions
    from ...runtime.synthesizer import Synthesizer
    from ..shared.outputs import Outputs
    from .lines import Line, Shard

RECORDS_NAME = "spoken.jsonl"


def speech_key(voice: Synthesizer, line: Line, seed: int, options: SpeechOptions, outputs: Outputs) -> str:
    """Identify what a file says and how: the bundle, what computes it, the text, the seed, the options and the format.

    line: checked. Its pieces have what lexicons, normalizers and the voice's cleaners make of the text.
    """
    assert line.split is not None
    spoken = [line.text, *map(asdict, line.split.pieces)]  # subtitles have the text as it is written
    values = asdict(replace(options, lexicon=None, cancelled=None))
    computed_by = voice.backend.computed_by
    parts = [voice.manifest.digest, computed_by, spoken, seed, values, outputs.audio_format, outputs.wav_format]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class Records:
    """The records of one folder. Each is written when its file is complete, so that an interrupt loses none."""

    def __init__(self, folder: Path, resume: bool, shard: Shard | None = None) -> None:
        """resume: keep what earlier calls recorded, with or without shards; otherwise the record starts over with the
        first file.

        shard: records of its own, because several may write into one folder at the same time.
        """
        self.path = folder / (RECORDS_NAME if shard is None else f"spoken.{shard.number}-of-{shard.of}.jsonl")
        self._is_new = not (resume and self.path.is_file())
        # The last line may be half-written: a new one must not continue it.
        self._separator = "" if self._is_new or self.path.read_bytes().endswith(b"\n") else "\n"
        # SHA-256 by id and key: calls with other options or shards may have written a file since it was recorded.
        self._made = dict(entry for path in folder.glob("spoken*.jsonl") for entry in _read(path)) if resume else {}

    def is_made(self, name: str, key: str, path: Path) -> bool:
        """True if the file is complete, and was made with this key."""
        recorded = self._made.get((name, key))
        return recorded is not None and path.is_file() and file_sha256(path) == recorded

    def add(self, name: str, key: str, path: Path, report: dict[str, object]) -> None:
        record = {"id": name, "key": key, "sha256": file_sha256(path), **report}
        with self.path.open("w" if self._is_new else "a", encoding="utf-8") as file:
            file.write(self._separator + json.dumps(record, ensure_ascii=False) + "\n")
        self._is_new, self._separator = False, ""


def _read(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield id and key with the SHA-256 of each record; a half-written line, or one without these, is skipped."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and all(isinstance(record.get(name), str) for name in ("id", "key", "sha256")):
            yield (record["id"], record["key"]), record["sha256"]
