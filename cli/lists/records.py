"""The record of what a list's folder holds, `spoken.jsonl`: one line of JSON for each finished file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...runtime.bundle.manifest import Manifest
    from ...runtime.options import SpeechOptions
    from ..shared.outputs import Outputs
    from .lines import Shard

RECORDS_NAME = "spoken.jsonl"


def speech_key(
    manifest: Manifest, text: str, seed: int, options: SpeechOptions, outputs: Outputs, normalizer: str | None
) -> str:
    """Identify what a file says and how: the voice, the text, the seed, the options and the format."""
    values = asdict(options) | {"normalizer": normalizer}
    del values["cancelled"]
    parts = [manifest.digest, text, seed, values, outputs.audio_format, outputs.wav_format]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class Records:
    """The records of one folder. Each is written when its file is complete, so that an interrupt loses none."""

    def __init__(self, folder: Path, resume: bool, shard: Shard | None = None) -> None:
        """resume: keep what earlier calls recorded; otherwise the record starts over with the first file.

        shard: records of its own, because several may write into one folder at the same time.
        """
        self.path = folder / (RECORDS_NAME if shard is None else f"spoken.{shard.number}-of-{shard.of}.jsonl")
        self._known: dict[str, dict[str, Any]] = _read(self.path) if resume else {}
        self._is_new = not self._known
        # The last line may be half-written: a new one must not continue it.
        self._separator = "" if self._is_new or self.path.read_bytes().endswith(b"\n") else "\n"

    def find(self, name: str, key: str, path: Path) -> dict[str, Any] | None:
        """Find the record of a file that exists, is complete, and was made with the same key."""
        record = self._known.get(name)
        if record is None or record.get("key") != key or not path.is_file():
            return None
        return record if path.stat().st_size == record.get("bytes") else None

    def add(self, name: str, key: str, path: Path, report: dict[str, object]) -> None:
        record = {"id": name, "key": key, "bytes": path.stat().st_size, **report}
        with self.path.open("w" if self._is_new else "a", encoding="utf-8") as file:
            file.write(self._separator + json.dumps(record, ensure_ascii=False) + "\n")
        self._is_new, self._separator = False, ""


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read the last record of each name; a line that is not a record, such as a half-written last one, is left out."""
    records: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            records[record["id"]] = record
    return records
