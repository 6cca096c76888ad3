"""What a voice is besides its weights: name, audio settings, symbols, cleaners, sigma.

They come from a voice file (the demo's voice.json shows the form; a DeepLearningExamples config.json with its
"audio" section is read too), then from the checkpoints, then from NVIDIA's published defaults.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..models.tacotron2 import Tacotron2
from ..models.vocoder import Vocoder
from ..runtime.manifest import AudioFormat, Text, Voice
from ..text import NVIDIA_SYMBOLS, FrontEnd, TextError
from ..text.cleaners import find_cleaners
from .errors import ExportError

DEMO_FOLDER = Path(__file__).parents[1] / "models" / "demo"
DEFAULT_AUDIO: dict[str, float] = {
    "sampling_rate": 22050,  # Hz
    "hop_length": 256,  # samples
    "filter_length": 1024,  # samples
    "win_length": 1024,  # samples
    "mel_fmin": 0.0,  # Hz
    "mel_fmax": 8000.0,  # Hz
}
DEFAULT_SIGMA = 0.6
MOST_NAMED = 10  # symbols in one warning


@dataclass(frozen=True)
class VoiceFile:
    """A voice file's content; what it leaves out is None or empty."""

    name: str = "voice"
    language: str = ""
    audio: dict[str, float] = field(default_factory=dict)
    symbols: tuple[str, ...] | None = None
    cleaners: tuple[str, ...] = ("english_cleaners",)
    sigma: float = DEFAULT_SIGMA
    provenance: dict[str, str] = field(default_factory=dict)


def read_voice_file(path: Path) -> VoiceFile:
    """Raises ExportError, naming the file and the entry that does not fit."""
    if not path.is_file():
        raise ExportError(f"{path}: no such voice file")
    content = _parsed(path.read_bytes(), path)
    if not isinstance(content, dict):
        raise ExportError(f"{path}: expected an object with 'audio' and 'text', got {type(content).__name__}")
    text = _section(content, "text", path)
    audio = {key.replace("-", "_"): value for key, value in _section(content, "audio", path).items()}
    symbols = text.get("symbols")
    return VoiceFile(
        name=str(content.get("name", path.stem)),
        language=str(content.get("language", "")),
        audio={key: _not_negative(audio[key], f"audio.{key}", path) for key in _audio_keys() if key in audio},
        symbols=None if symbols is None else _strings(symbols, "text.symbols", path),
        cleaners=_strings(text.get("cleaners", ["english_cleaners"]), "text.cleaners", path),
        sigma=_not_negative(_section(content, "waveglow", path).get("sigma", DEFAULT_SIGMA), "waveglow.sigma", path),
        provenance={str(key): str(value) for key, value in _section(content, "provenance", path).items()},
    )


def with_text_options(voice: VoiceFile, symbols: Path | None, cleaners: list[str] | None) -> VoiceFile:
    """The voice with the command line's symbols and cleaners in place of its own, where they are given."""
    if symbols is not None:
        voice = replace(voice, symbols=read_symbols(symbols))
    return replace(voice, cleaners=tuple(cleaners)) if cleaners else voice


def read_symbols(path: Path) -> tuple[str, ...]:
    """A voice's symbols in id order: a JSON list of strings, or a text file with one a line, a space included.

    Raises ExportError, naming the line.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such file of symbols")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: is not UTF-8 ({error}); save the symbols as UTF-8 text") from error
    if content.lstrip().startswith("[") and content.rstrip().endswith("]"):
        return _strings(_parsed(content, path), "the list of symbols", path)
    lines = content.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if "" in lines:
        raise ExportError(f"{path}: line {lines.index('') + 1} is empty: each line is a symbol, a space too")
    return tuple(lines)


def _parsed(content: str | bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: is not JSON ({error})") from error


def _audio_keys() -> list[str]:
    return [*DEFAULT_AUDIO, "n_mel_channels"]


def _section(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ExportError(f"{path}: {name!r} should be an object, got {type(section).__name__}")
    return section


def _not_negative(value: Any, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ExportError(f"{path}: {name} should be a number from 0 up, got {value!r}")
    return value


def _strings(value: Any, name: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ExportError(f"{path}: {name} should be a list of strings")
    return tuple(value)


def voice_entry(voice: VoiceFile) -> Voice:
    return Voice(name=voice.name, language=voice.language, provenance=voice.provenance)


def audio_format(voice: VoiceFile, tacotron2: Tacotron2, vocoder: Vocoder) -> AudioFormat:
    """The audio settings that both models and the voice file agree on.

    Raises ExportError where two of them differ: such a pair would speak at the wrong pitch, or noise.
    """
    bands = {"n_mel_channels": tacotron2.config.n_mel_channels}
    stated = {
        "tacotron2": {**tacotron2.audio, **bands},
        vocoder.kind: {
            **vocoder.audio,
            "n_mel_channels": vocoder.n_mel_channels,
            "hop_length": vocoder.hop_length,
        },
        "the voice file": voice.audio,
    }
    _check_stated(tacotron2, vocoder, voice)
    agreed: dict[str, float] = {}
    for key in _audio_keys():
        values = {who: settings[key] for who, settings in stated.items() if key in settings}
        if len(set(values.values())) > 1:
            listing = ", ".join(f"{who} says {value:g}" for who, value in values.items())
            raise ExportError(f"{key} does not match: {listing}; the two models must be trained on the same audio")
        for who, value in values.items():
            if not key.startswith("mel_f") and (value < 1 or value != int(value)):
                raise ExportError(f"{key}: expected a whole number from 1 up, {who} says {value:g}")
        agreed[key] = next(iter(values.values()), DEFAULT_AUDIO.get(key, 0))
    return AudioFormat(
        **{key: float(value) if key.startswith("mel_f") else int(value) for key, value in agreed.items()}  # type: ignore[arg-type]
    )


def _check_stated(tacotron2: Tacotron2, vocoder: Vocoder, voice: VoiceFile) -> None:
    """Raise ExportError if only the vocoder states a setting, and not NVIDIA's default.

    A Tacotron 2 checkpoint may state none, and the same numbers in the weights say nothing about the mels.
    """
    for key, default in DEFAULT_AUDIO.items():
        value = vocoder.audio.get(key, default)
        if value != default and key not in tacotron2.audio and key not in voice.audio:
            raise ExportError(
                f"{key} does not match: {vocoder.kind} says {value:g}, tacotron2 says nothing, which means NVIDIA's "
                f"{default:g}; if it was trained with {value:g}, say so in a voice file: --config"
            )


def text_entry(voice: VoiceFile, tacotron2: Tacotron2) -> Text:
    """The symbols in id order, as many as the embedding has rows. Raises ExportError if they are not."""
    symbols, rows = voice.symbols or NVIDIA_SYMBOLS, tacotron2.config.n_symbols
    if len(symbols) != rows:
        whose = "the voice file" if voice.symbols else "NVIDIA's symbol set"
        raise ExportError(
            f"symbols: the checkpoint's embedding has {rows} rows, {whose} has {len(symbols)}; "
            "give the voice's own list with --symbols FILE"
        )
    try:
        FrontEnd(symbols, voice.cleaners)
    except TextError as error:
        raise ExportError(f"voice file: {error}") from error
    _warn_of_unreachable(symbols, voice.cleaners)
    return Text(symbols=symbols, cleaners=voice.cleaners)


def _warn_of_unreachable(symbols: Sequence[str], cleaners: Sequence[str]) -> None:
    """Such as an ä among the symbols, with cleaners that make an a of it: the voice would never speak it."""
    lost = []
    for symbol in symbols:
        text = symbol
        for cleaner in find_cleaners(cleaners):
            text = cleaner(text)
        if len(symbol) == 1 and not symbol.isascii() and symbol == symbol.lower() and symbol not in text:
            lost.append(symbol)
    if lost:
        named = " ".join(lost[:MOST_NAMED])
        warnings.warn(
            f"{', '.join(cleaners)} never leave {len(lost)} of the symbols in a text ({named}): "
            "for their sake, use --cleaners basic_cleaners",
            stacklevel=2,
        )
