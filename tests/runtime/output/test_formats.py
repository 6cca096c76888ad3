"""Audio files in every format: read back, they contain what was written."""

from __future__ import annotations

import io
import os
import struct
import wave
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tacoglow.runtime.errors import RequestError
from tacoglow.runtime.output.audio import Audio
from tacoglow.runtime.output.formats import SUFFIXES, AudioFormat, choose_format, open_encoder
from tacoglow.runtime.output.growing import SpeechOutput
from tacoglow.runtime.output.wav_writer import WavFormat, to_int16

RATE = 22050
LOSSY: list[AudioFormat] = ["opus", "mp3", "aac"]
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)
# First bytes of a file and of a stream.
MAGIC = {
    "flac": (b"fLaC", b"fLaC"),
    "opus": (b"OggS", b"OggS"),
    "mp3": (b"ID3", b"\xff\xf3"),
    "aac": (b"\xff\xf1",) * 2,
    "ulaw": (b"",) * 2,  # bare samples
    "alaw": (b"",) * 2,
}


class Pipe(io.RawIOBase):
    """A sink that can only be appended to."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


def encode(samples: NDArray[np.float32], audio_format: AudioFormat, streamed: bool, rate: int = RATE) -> bytes:
    sink = Pipe() if streamed else io.BytesIO()
    encoder = open_encoder(cast(BinaryIO, sink), rate, audio_format)
    for start in range(0, len(samples), 1000):
        encoder.write(samples[start : start + 1000])
    encoder.close()
    return sink.content if isinstance(sink, Pipe) else sink.getvalue()


def decode(content: bytes) -> tuple[int, NDArray[Any]]:
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(audio=0))
    return frames[0].sample_rate, np.concatenate([frame.to_ndarray().ravel() for frame in frames])


@pytest.mark.parametrize(("wav_format", "width"), [("int16", 2), ("int24", 3)])
def test_integer_wav_is_read_by_the_standard_library(wav_format: WavFormat, width: int) -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0], np.float32)
    content = io.BytesIO()
    Audio(samples, RATE, ()).save(content, wav_format)
    assert len(content.getvalue()) % 2 == 0
    with wave.open(io.BytesIO(content.getvalue())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, width)
        data = file.readframes(100)
    values = [int.from_bytes(data[i : i + width], "little", signed=True) for i in range(0, len(data), width)]
    largest = 2 ** (8 * width - 1) - 1
    assert values == [0, round(largest / 2), -round(largest / 2), largest, -largest, largest, -largest]


@pytest.mark.parametrize(("wav_format", "width"), [("int16", 2), ("int24", 3)])
@pytest.mark.parametrize("kept", [0, 1, 5, 200])
def test_a_write_that_is_interrupted_leaves_a_complete_file(wav_format: WavFormat, width: int, kept: int) -> None:
    """Ctrl-C arrives inside the sink's write, of whose bytes `kept` have got into the file."""

    class Interrupted(io.BytesIO):
        is_interrupted = False

        def write(self, data: Any) -> int:
            if self.is_interrupted:
                self.is_interrupted = False
                super().write(data[:kept])
                raise KeyboardInterrupt
            return super().write(data)

    sink = Interrupted()
    encoder = open_encoder(sink, RATE, "wav", wav_format)
    encoder.write(np.full(101, 0.5, np.float32))
    sink.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        encoder.write(np.full(101, 0.5, np.float32))
    encoder.close()
    content = sink.getvalue()
    size = 101 * width + kept // width * width
    assert int.from_bytes(content[40:44], "little") == size
    assert len(content) == 44 + size + size % 2
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    with wave.open(io.BytesIO(content)) as file:
        assert file.readframes(1000) == content[44 : 44 + size]


def test_a_device_takes_a_wav_file() -> None:
    with Path("/dev/null").open("wb") as device:
        encoder = open_encoder(device, RATE, "wav", "int24")
        encoder.write(np.zeros(101, np.float32))
        device.flush()  # from here on, the device says that its position is 0
        encoder.close()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memfd_create")
def test_an_open_file_without_a_name_is_written_directly() -> None:
    with os.fdopen(os.memfd_create("out"), "r+b") as file:
        file.write(bytes(3000))
        file.flush()
        audio, path = Audio(np.zeros(101, np.float32), RATE, ()), Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        audio.save(path)
        file.seek(0)
        assert len(file.read()) == 44 + 202
        with SpeechOutput(path, RATE, "wav", "int24") as sink:
            sink.write(audio.samples)
        file.seek(0)
        assert len(file.read()) == 44 + 303 + 1


def test_float_wav_keeps_every_bit() -> None:
    samples = np.array([0.1, -1.5, 1e-9], np.float32)
    content = io.BytesIO()
    Audio(samples, RATE, ()).save(content, "float32")
    header, data = content.getvalue()[:44], content.getvalue()[44:]
    assert struct.unpack("<IHHIIHH", header[16:36]) == (16, 3, 1, RATE, 4 * RATE, 4, 32)
    assert data == samples.astype("<f4").tobytes()


@pytest.mark.parametrize("streamed", [False, True])
def test_flac_is_lossless(streamed: bool) -> None:
    pytest.importorskip("av")
    rate, samples = decode(encode(TONE, "flac", streamed))
    assert rate == RATE
    np.testing.assert_array_equal(samples, to_int16(TONE))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("rate", [RATE, 20_000])  # the second one is not a rate of every codec
@pytest.mark.parametrize("audio_format", LOSSY)
def test_lossy_formats_contain_the_tone(audio_format: AudioFormat, rate: int, streamed: bool) -> None:
    pytest.importorskip("av")
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
    content = encode(tone, audio_format, streamed, rate)
    assert content.startswith(MAGIC[audio_format][streamed])
    assert len(content) < 20_000  # 64 kbit/s
    decoded_rate, samples = decode(content)
    assert len(samples) / decoded_rate == pytest.approx(2.0, abs=0.1)  # the codecs pad
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    frequencies = np.fft.rfftfreq(len(middle), 1 / decoded_rate)
    assert frequencies[spectrum.argmax()] == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def expand_g711(content: bytes, audio_format: AudioFormat) -> NDArray[np.float64]:
    """The samples of G.711, by the segments of its standard: a sign, three bits of the segment, four within it."""
    codes = np.frombuffer(content, np.uint8) ^ (0xFF if audio_format == "ulaw" else 0x55)
    sign, segment, step = codes >> 7, (codes >> 4 & 7).astype(int), (codes & 15).astype(float)
    if audio_format == "ulaw":  # 14 bits
        return np.where(sign, -1, 1) * ((2 * step + 33) * 2.0**segment - 33) / 8192
    linear = np.where(segment == 0, 2 * step + 1, (2 * step + 33) * 2.0 ** np.maximum(segment - 1, 0))  # 13 bits
    return np.where(sign, 1, -1) * linear / 4096


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("audio_format", LOSSY)
def test_a_file_without_samples_can_be_played(audio_format: AudioFormat, streamed: bool) -> None:
    pytest.importorskip("av")
    content = encode(TONE[:0], audio_format, streamed)
    assert content.startswith(MAGIC[audio_format][streamed])
    rate, samples = decode(content)
    assert 0.0099 < len(samples) / rate < 0.2  # 10 ms, or whole frames of the format
    assert np.abs(samples).max() < 1e-3


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("audio_format", ["ulaw", "alaw"])
def test_g711_is_the_tone_at_8_khz(audio_format: AudioFormat, streamed: bool) -> None:
    content = encode(TONE, audio_format, streamed)
    assert abs(len(content) - 16_000) <= 64  # two seconds, a byte per sample
    samples = expand_g711(content, audio_format)[1000:-1000]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert abs(np.argmax(spectrum) * 8000 / len(samples) - 440) < 1
    assert np.abs(samples).max() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_selects_the_format(tmp_path: Path, suffix: str) -> None:
    if SUFFIXES[suffix] != "wav":
        pytest.importorskip("av")
    path = tmp_path / f"x{suffix.upper()}"
    Audio(TONE, RATE, ()).save(path)
    assert path.read_bytes().startswith(b"RIFF" if SUFFIXES[suffix] == "wav" else MAGIC[SUFFIXES[suffix]][0])


def test_names_that_promise_something_else_are_refused(tmp_path: Path) -> None:
    audio = Audio(TONE, RATE, ())
    with pytest.raises(RequestError, match=r"x\.mp5: unknown audio format '\.mp5'; use one of \.wav, "):
        audio.save(tmp_path / "x.mp5")
    with pytest.raises(RequestError, match=r"its name says flac, audio_format says wav"):
        audio.save(tmp_path / "x.flac", audio_format="wav")
    with pytest.raises(RequestError, match="expected one of wav, flac, opus, mp3, aac, ulaw, alaw, got 'mp5'"):
        audio.save(io.BytesIO(), audio_format="mp5")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    assert choose_format(Path("without_suffix")) == "wav"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(RequestError, match=r"^mp3: needs PyAV; install it with: pip install 'tacoglow\[formats\]'"):
        Audio(TONE, RATE, ()).save(tmp_path / "x.mp3")
    assert not list(tmp_path.iterdir())
