"""Times of words as JSON, or as subtitles: SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Literal, get_args

from ..errors import RequestError
from .timestamps import TimedText

TimesFormat = Literal["json", "srt", "vtt"]
CUE_CHARACTERS = 84  # two lines of 42, what viewers can read
CUE_SECONDS = 7.0
GAP_SECONDS = 0.6  # silence that separates two subtitles
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]»」』]*$")


def check_times_format(suffix: str, option: str) -> TimesFormat:
    """Return the format of a file's suffix, such as ".srt". Raises RequestError for another one."""
    known = get_args(TimesFormat)
    for times_format in known:
        if suffix.lower() == f".{times_format}":
            return times_format  # type: ignore[no-any-return]
    raise RequestError(f"{option}: expected a name that ends with .{', .'.join(known)}, got {suffix!r}")


def encode_times(words: Sequence[TimedText], characters: Sequence[TimedText], times_format: TimesFormat) -> str:
    """Encode the content of a file of times; subtitles have the words only."""
    if times_format == "json":
        content = {"words": [_entry(word) for word in words], "characters": [_entry(one) for one in characters]}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    if times_format == "srt":
        return "".join(
            f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n"
            for number, cue in enumerate(cues(words), 1)
        )
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escape(cue.text)}\n\n" for cue in cues(words)
    )


def cues(words: Sequence[TimedText]) -> Iterator[TimedText]:
    """Group words into subtitles: up to the end of a sentence, a silence, 84 characters or 7 seconds."""
    group: list[TimedText] = []
    for word in words:
        if group and _begins_cue(group, word):
            yield _join(group)
            group = []
        group.append(word)
    if group:
        yield _join(group)


def _begins_cue(group: list[TimedText], word: TimedText) -> bool:
    last = group[-1]
    length = sum(len(one.text) + 1 for one in group) + len(word.text)
    too_long = length > CUE_CHARACTERS or word.end - group[0].start > CUE_SECONDS
    return too_long or word.start - last.end > GAP_SECONDS or _SENTENCE_END.search(last.text) is not None


def _join(group: list[TimedText]) -> TimedText:
    return TimedText(" ".join(word.text for word in group), group[0].start, group[-1].end)


def _entry(one: TimedText) -> dict[str, object]:
    return {**asdict(one), "start": round(one.start, 3), "end": round(one.end, 3)}


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
