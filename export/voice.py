"""Settings of a voice besides its weights: name, audio settings, symbols, cleaners, sigma.

They come from a voice file (the demo's voice.json is an example; a DeepLearningExamples config.json with an "audio"
section works too), then from the checkpoints, then from NVIDIA's published defaults.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..models.tacotron2 import Tacotron2
from ..models.vocoder import Vocoder
from ..runtime.bundle.manifest import COUNT_MAX, STRENGTH_MAX, AudioFormat, Voice, has_control_characters
from ..runtime.errors import ExportError
from ..text import NVIDIA_SYMBOLS, FrontEnd, Lexicon, TextError
from ..text.cleaners import find_cleaners

DEFAULT_AUDIO: dict[str, float] = {
    "sampling_rate": 22050,  # Hz
    "hop_length": 256,  # samples
    "filter_length": 1024,  # samples
    "win_length": 1024,  # samples
    "mel_fmin": 0.0,  # Hz
    "mel_fmax": 8000.0,  # Hz
}
DEFAULT_SIGMA = 0.6
FULL_STOP = "."
# Short and long, with and without pauses; for a voice that does not speak English, its voice file has others.
SENTENCES = (
    "Yes.",
    "Good morning.",
    "The kettle is on the stove.",
    "Please leave your name and your number after the tone.",
    "It rained all night, and the river rose over the meadow.",
    "When did the last train to the coast leave the station?",
    "She opened the letter, read it twice, and put it back into her pocket without a word.",
    "Nobody knew how long the bridge would hold, so they carried everything across before it was dark.",
)
FILE_BYTES_MAX = 1 << 24  # largest voice file or symbol file
MOST_NAMED = 10  # symbols listed in one warning


@dataclass(frozen=True)
class VoiceFile:
    """Content of a voice file; entries that it lacks have these defaults."""

    name: str = "voice"
    language: str = ""
    audio: dict[str, float] = field(default_factory=dict)
    symbols: tuple[str, ...] | None = None
    cleaners: tuple[str, ...] = ("english_cleaners",)
    lexicon: dict[str, str] = field(default_factory=dict)
    final_mark: str | None = None  # symbol after a text that ends with none; None: a full stop, if it is a symbol
    sentences: tuple[str, ...] = SENTENCES  # that the voice speaks at export, to measure how it ends them
    sigma: float = DEFAULT_SIGMA
    provenance: dict[str, str] = field(default_factory=dict)


def read_voice_file(path: Path) -> VoiceFile:
    """Read a voice file (JSON). Raises ExportError, which names the file and the invalid entry."""
    if not path.is_file():
        raise ExportError(f"{path}: no such voice file")
    content = _parse_json(_read(path), path)
    if not isinstance(content, dict):
        raise ExportError(f"{path}: expected an object with 'audio' and 'text', got {type(content).__name__}")
    text = _section(content, "text", path)
    audio = {key.replace("-", "_"): value for key, value in _section(content, "audio", path).items()}
    symbols = text.get("symbols")
    return VoiceFile(
        name=_check_name(str(content.get("name", path.stem)), "name", path),
        language=_check_name(str(content.get("language", "")), "language", path),
        audio={key: _check_non_negative(audio[key], f"audio.{key}", path) for key in _audio_keys() if key in audio},
        symbols=None if symbols is None else _check_strings(symbols, "text.symbols", path),
        cleaners=_check_strings(text.get("cleaners", ["english_cleaners"]), "text.cleaners", path),
        final_mark=None if "final_mark" not in text else str(text["final_mark"]),
        sentences=_check_strings(text.get("sentences", list(SENTENCES)), "text.sentences", path),
        sigma=_check_non_negative(
            _section(content, "waveglow", path).get("sigma", DEFAULT_SIGMA), "waveglow.sigma", path, STRENGTH_MAX
        ),
        provenance={str(key): str(value) for key, value in _section(content, "provenance", path).items()},
    )


def with_text_options(
    voice: VoiceFile, symbols: Path | None, cleaners: list[str] | None, lexicon: Mapping[str, str] | None = None
) -> VoiceFile:
    """Return the voice with the given symbols (a file), cleaners and lexicon; None keeps its own."""
    if lexicon is not None:
        voice = replace(voice, lexicon=dict(lexicon))
    if symbols is not None:
        voice = replace(voice, symbols=read_symbols(symbols))
    return replace(voice, cleaners=tuple(cleaners)) if cleaners else voice


def read_symbols(path: Path) -> tuple[str, ...]:
    """Read a voice's symbols in id order from a JSON list of strings, or from a text file with one symbol per line.

    A line with one space is the space symbol. Raises ExportError, which names the file and the line if it is empty.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such symbol file")
    try:
        content = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: is not UTF-8 ({error}); save the symbols as UTF-8 text") from error
    if content.lstrip().startswith("[") and content.rstrip().endswith("]"):
        return _check_strings(_parse_json(content, path), "the list of symbols", path)
    lines = content.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if "" in lines:
        raise ExportError(
            f"{path}: line {lines.index('') + 1} is empty; write one symbol per line; "
            "a line with one space is the space symbol"
        )
    return tuple(lines)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ExportError(f"{path}: larger than {FILE_BYTES_MAX >> 20} MiB, so it is not a voice file or a symbol file")
    return content


def _parse_json(content: str | bytes, path: Path) -> Any:
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


def _check_non_negative(value: Any, name: str, path: Path, most: float = COUNT_MAX) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ExportError(f"{path}: {name} should be a number from 0 to {most:.10g}, got {value!r:.40}")
    return value


def _check_name(value: str, name: str, path: Path) -> str:
    if has_control_characters(value):
        raise ExportError(f"{path}: {name} should be without control characters, got {value!r:.40}")
    return value


def _check_strings(value: Any, name: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ExportError(f"{path}: {name} should be a list of strings")
    return tuple(value)


def voice_entry(voice: VoiceFile) -> Voice:
    return Voice(name=voice.name, language=voice.language, provenance=voice.provenance)


def audio_format(voice: VoiceFile, tacotron2: Tacotron2, vocoder: Vocoder) -> AudioFormat:
    """Return the audio settings, on which both models and the voice file must agree.

    Raises ExportError if two of them differ: such a pair would synthesize noise, or speech at the wrong pitch.
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
        values = {source: settings[key] for source, settings in stated.items() if key in settings}
        if len(set(values.values())) > 1:
            listing = ", ".join(f"{source} says {value:g}" for source, value in values.items())
            raise ExportError(f"{key} does not match: {listing}; the two models must be trained on the same audio")
        for source, value in values.items():
            if not key.startswith("mel_f") and (value < 1 or value != int(value)):
                raise ExportError(f"{key}: expected an integer >= 1, {source} says {value:g}")
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


def voice_symbols(voice: VoiceFile, tacotron2: Tacotron2) -> tuple[str, ...]:
    """Return the voice's symbols in id order.

    Raises ExportError unless the embedding has one row per symbol, and the text front end accepts them.
    """
    symbols, rows = voice.symbols or NVIDIA_SYMBOLS, tacotron2.config.n_symbols
    if len(symbols) != rows:
        whose = "the voice file" if voice.symbols else "NVIDIA's symbol set"
        raise ExportError(
            f"symbols: the checkpoint's embedding has {rows} rows, {whose} has {len(symbols)}; "
            "give the voice's own list with --symbols FILE"
        )
    try:
        FrontEnd(symbols, voice.cleaners, Lexicon(voice.lexicon), final_mark=final_mark(voice, symbols))
    except TextError as error:
        raise ExportError(f"voice file: {error}") from error
    _warn_of_unreachable(symbols, voice.cleaners)
    return symbols


def final_mark(voice: VoiceFile, symbols: Sequence[str]) -> str:
    """Return the voice file's final mark, otherwise a full stop if that is a symbol; "": none."""
    return (FULL_STOP if FULL_STOP in symbols else "") if voice.final_mark is None else voice.final_mark


def _warn_of_unreachable(symbols: Sequence[str], cleaners: Sequence[str]) -> None:
    """Warn of symbols that the cleaners never leave in a text, such as ä with cleaners that replace it by a."""
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
            f"{', '.join(cleaners)} replace or drop {len(lost)} of the voice's symbols ({named}), "
            "which can then never be synthesized; use --cleaners basic_cleaners",
            stacklevel=2,
        )
