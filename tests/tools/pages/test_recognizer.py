"""Recognizers, and recordings of a speaker in LJ Speech's layout."""

from __future__ import annotations

import json
import shutil
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tacoglow.runtime.errors import RequestError
from tacoglow.tests.conftest import TinyCheckpoints
from tacoglow.tools.pages import measure, quality, streaming, tables
from tacoglow.tools.pages.recognizer import WHISPER_FILES, open_recognizer, word_errors, words
from tacoglow.tools.pages.recordings import Recording, read_recordings

RATE = 22050


@pytest.mark.parametrize(
    ("heard", "errors"),
    [("it was a day", 0), ("it was day", 1), ("it was a bright day", 1), ("that is a day", 2), ("", 4)],
)
def test_word_errors(heard: str, errors: int) -> None:
    assert word_errors(words("It was a day."), heard.split()) == errors


def test_words_are_spelled_out() -> None:
    assert words("Mr. Smith's 12 dogs!") == ["mister", "smith's", "twelve", "dogs"]


@pytest.fixture
def whisper_folder(tmp_path: Path) -> Path:
    for name in WHISPER_FILES:
        (tmp_path / name).touch()
    return tmp_path


def test_whisper(whisper_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for faster-whisper: it is given 16,000 samples per second, and its words are spelled out."""

    class Model:
        def __init__(self, folder: str, **_: Any) -> None:
            assert folder == str(whisper_folder)

        def transcribe(self, audio: Any, **_: Any) -> tuple[list[Any], None]:
            assert audio.dtype == np.float32
            assert len(audio) == pytest.approx(16_000 * (1.0 + 2 * 0.2), abs=2)  # the signal and its padding
            return [SimpleNamespace(text=" Mr. Hill,"), SimpleNamespace(text=" at 8.")], None

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=Model))
    recognizer = open_recognizer(f"whisper:{whisper_folder}")
    assert recognizer is not None
    assert recognizer.words_of(np.zeros(RATE, np.float32), RATE) == ["mister", "hill", "at", "eight"]


def test_unusable_recognizers(whisper_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(RequestError, match="pip install faster-whisper"):
        open_recognizer(f"whisper:{whisper_folder}")
    (whisper_folder / "tokenizer.json").unlink()
    with pytest.raises(RequestError, match=r"tokenizer\.json not found"):
        open_recognizer(f"whisper:{whisper_folder}")
    for name in ("kaldi", "whisper", "whisper:"):
        with pytest.raises(RequestError, match="expected pocketsphinx or whisper:FOLDER"):
            open_recognizer(name)


def write_wav(path: Path, samples: bytes, width: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(samples)
    return path


def test_recording(tmp_path: Path) -> None:
    stereo = np.array([[16384, -16384], [32767, 32767], [-32768, 0]], "<i2").tobytes()
    samples, rate = Recording("One.", write_wav(tmp_path / "stereo.wav", stereo, 2, channels=2)).samples()
    assert rate == RATE
    np.testing.assert_allclose(samples, [0.0, 32767 / 32768, -0.5])
    deep = write_wav(tmp_path / "deep.wav", b"\x00\x00\x40" + b"\x00\x00\xc0", 3)  # 24 bits: a half, minus a half
    np.testing.assert_allclose(Recording("One.", deep).samples()[0], [0.5, -0.5])
    with pytest.raises(RequestError, match="8 bits"):
        Recording("One.", write_wav(tmp_path / "byte.wav", bytes(4), 1)).samples()
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(RequestError, match=r"text\.wav: cannot be read as a wav file"):
        Recording("One.", tmp_path / "text.wav").samples()


@pytest.fixture
def voice(tiny_checkpoints: TinyCheckpoints, tmp_path: Path) -> Path:
    folder = tmp_path / "voice"
    folder.mkdir()
    shutil.copy(tiny_checkpoints.tacotron2, folder / "tacotron2.pt")
    shutil.copy(tiny_checkpoints.waveglow, folder / "waveglow.pt")
    shutil.copy(tiny_checkpoints.voice, folder / "voice.json")
    return folder


def measured(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Any:
    """Run the command; returns its report."""
    monkeypatch.setattr(sys, "argv", ["measure", *map(str, arguments)])
    measure.main()
    return json.loads(Path(str(arguments[-1])).read_text())


@pytest.mark.full
def test_recordings_beside_the_voice(tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx")
    monkeypatch.setattr(quality, "SEEDS", (0,))
    (tmp_path / "wavs").mkdir()
    (tmp_path / "metadata.csv").write_text("LJ1|No.|No.\n")
    write_wav(tmp_path / "wavs" / "LJ1.wav", bytes(2 * RATE), 2)  # a second of silence: no word is heard
    given = ["quality", "--voice", voice, "--recordings", tmp_path, "-o", tmp_path / "result.json"]
    report = measured(monkeypatch, *given)
    assert report["recognizer"] == "pocketsphinx"
    assert report["recordings"]["sentences"] == [{"text": "No.", "words": 1, "word_errors": 1}]
    assert {entry["text"] for row in report["quality"] for entry in row["sentences"]} == {"No."}
    row = tables.quality(report).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")][1:] == ["recordings", *"------", "100%", "-", ""]
    (tmp_path / "wavs" / "LJ1.wav").unlink()
    with pytest.raises(RequestError, match="line 1: "):
        read_recordings(tmp_path)


def test_streams(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CONTEXTS", (0, None))
    monkeypatch.setattr(streaming, "SEGMENTS", ((2, 4),))
    monkeypatch.setattr(streaming, "TEXT", "No.")
    given = ["streaming", "--bundle", tiny_bundle, "--runs", 1, "-o", tmp_path / "result.json"]
    rows = measured(monkeypatch, *given)["streaming"]["streams"]
    assert [row["context_frames"] for row in rows] == [0, None]
    assert rows[0]["signal_to_error_db"] < rows[1]["signal_to_error_db"]
    assert rows[1]["signal_to_error_db"] > 60  # the full receptive field: rounding alone is left
