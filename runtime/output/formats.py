"""Encodes speech piece by piece as wav, flac, opus (in Ogg), mp3, aac (ADTS) or G.711; all but wav need PyAV."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from .mp3_tag import info_frame
from .wav_writer import HEADER_BYTES, SAMPLE_BYTES, WavFormat, encode, to_int16, wav_header

SILENCE_SECONDS = 0.01  # in a file without samples, of a format that cannot be empty
AudioFormat = Literal["wav", "flac", "opus", "mp3", "aac", "ulaw", "alaw"]
SUFFIXES: dict[str, AudioFormat] = {
    **{f".{name}": name for name in get_args(AudioFormat)},
    ".wave": "wav",
    ".ogg": "opus",
    ".oga": "opus",
}


@dataclass(frozen=True)
class Codec:
    """How FFmpeg encodes a format. A voice's speech needs little: it is mono and has no music in it."""

    container: str
    encoder: str
    bit_rate: int | None = None  # bits per second; None: lossless
    streamed: dict[str, str] = field(default_factory=dict)  # options of a container that cannot be completed later
    options: dict[str, str] = field(default_factory=dict)  # options of every container
    rates: tuple[int, ...] = ()  # Hz, in which it is written; (): whatever the encoder takes
    is_never_empty: bool = False  # without samples, FFmpeg would write nothing, which no player takes
    delay: int = 0  # samples by which decoded audio is late, because the format cannot tell players to skip them


CODECS: dict[AudioFormat, Codec] = {
    "flac": Codec("flac", "flac"),
    "opus": Codec(
        "ogg", "libopus", 32_000, options={"page_duration": "100000"}, rates=(24_000, 48_000), is_never_empty=True
    ),
    # A file gets its exact length in a Xing frame of FFmpeg's, which it cannot write into a pipe.
    "mp3": Codec("mp3", "libmp3lame", 64_000, streamed={"write_xing": "0", "id3v2_version": "0"}, is_never_empty=True),
    "aac": Codec("adts", "aac", 64_000, is_never_empty=True, delay=1024),
    # G.711, as telephones speak: bare bytes, without a header.
    "ulaw": Codec("mulaw", "pcm_mulaw", 64_000, rates=(8_000,)),
    "alaw": Codec("alaw", "pcm_alaw", 64_000, rates=(8_000,)),
}


def format_of(path: Path) -> AudioFormat | None:
    """Return the format that a file name promises; None if its suffix is none of SUFFIXES."""
    return SUFFIXES.get(path.suffix.lower())


def choose_format(path: Path | None, wanted: AudioFormat | None = None, option: str = "audio_format") -> AudioFormat:
    """Choose the format to write into `path`: the wanted one, or the one of its suffix, or wav if it has no suffix.

    Raises RequestError if the suffix promises another format or an unknown one, or if PyAV is needed but not installed.
    """
    suffix_format = None if path is None else format_of(path)
    if path is not None and path.suffix and suffix_format is None:
        raise RequestError(f"{path}: unknown audio format {path.suffix!r}; use one of {', '.join(SUFFIXES)}")
    if wanted is not None and suffix_format not in (None, wanted):
        raise RequestError(f"{path}: its name says {suffix_format}, {option} says {wanted}; leave one of them out")
    chosen = wanted or suffix_format or "wav"
    if chosen not in get_args(AudioFormat):
        raise RequestError(f"audio format: expected one of {', '.join(get_args(AudioFormat))}, got {chosen!r}")
    if chosen != "wav":
        _av(chosen)
    return chosen


class Encoder(ABC):
    """Writes one mono file into a sink: `write` the samples in order, then `close`, which leaves the sink open."""

    @abstractmethod
    def write(self, samples: NDArray[np.float32]) -> None:
        """Encode samples, nominally in [-1, 1]; what lies outside is clipped, except in float32."""

    @abstractmethod
    def close(self) -> None: ...


class RawEncoder(Encoder):
    """Samples in wav's encoding, without a header."""

    def __init__(self, sink: BinaryIO, wav_format: WavFormat = "int16") -> None:
        self._sink, self._wav_format = sink, wav_format

    def write(self, samples: NDArray[np.float32]) -> None:
        self._sink.write(encode(samples, self._wav_format))

    def close(self) -> None:
        pass


class WavEncoder(RawEncoder):
    """A wav file. A seekable sink gets the lengths in its header when it is closed; others keep unknown lengths."""

    def __init__(self, sink: BinaryIO, sampling_rate: int, wav_format: WavFormat = "int16") -> None:
        super().__init__(sink, wav_format)
        self._rate = sampling_rate
        self._start = sink.tell() if sink.seekable() else None
        sink.write(wav_header(sampling_rate, wav_format, None))

    def close(self) -> None:
        if self._start is None:
            return
        first = self._start + HEADER_BYTES
        # An interrupt can end a write anywhere, also within a sample. The position of a device such as /dev/null is 0.
        size = max(0, self._sink.tell() - first)
        if rest := size % SAMPLE_BYTES[self._wav_format]:
            size -= rest
            self._sink.seek(first + size)
            self._sink.truncate()
        self._sink.write(b"\0" * (size % 2))
        self._sink.seek(self._start)
        self._sink.write(wav_header(self._rate, self._wav_format, size))
        self._sink.seek(first + size + size % 2)


class AvEncoder(Encoder):
    """Every other format, by FFmpeg through PyAV."""

    def __init__(
        self, sink: BinaryIO, sampling_rate: int, audio_format: AudioFormat, encoded_rate: int | None = None
    ) -> None:
        av = self._library = _av(audio_format)
        codec = CODECS[audio_format]
        self._sink, self._rate = sink, sampling_rate
        # FLAC has its length in front: whole in memory if the sink cannot seek.
        self._whole = io.BytesIO() if audio_format == "flac" and not sink.seekable() else None
        target = self._whole or (sink if sink.seekable() else _Append(sink))
        options = codec.options | ({} if sink.seekable() else codec.streamed)
        self._container = av.open(target, "w", format=codec.container, options=options)
        encoder = av.Codec(codec.encoder, "w")
        rate = encoded_rate or _choose_rate(sampling_rate, codec.rates or encoder.audio_rates)
        self._stream = self._container.add_stream(codec.encoder, rate=rate, layout="mono")
        if codec.bit_rate is not None:
            self._stream.bit_rate = codec.bit_rate
        self._is_lossless, self._is_never_empty = codec.bit_rate is None, codec.is_never_empty
        self._needs_tag = audio_format == "mp3" and not sink.seekable()
        self._resampler = None if rate == sampling_rate else av.AudioResampler(format="flt", layout="mono", rate=rate)
        self._position = 0  # samples written

    def write(self, samples: NDArray[np.float32]) -> None:
        if len(samples) == 0:
            return
        values = to_int16(samples) if self._is_lossless else np.clip(samples, -1.0, 1.0).astype(np.float32)
        frame = self._library.AudioFrame.from_ndarray(
            values[None], format="s16" if self._is_lossless else "flt", layout="mono"
        )
        frame.sample_rate, frame.pts = self._rate, self._position
        self._position += len(samples)
        self._encode([frame] if self._resampler is None else self._resampler.resample(frame))

    def close(self) -> None:
        if self._is_never_empty and not self._position:
            self.write(np.zeros(int(SILENCE_SECONDS * self._rate), np.float32))
        if self._resampler is not None:
            self._encode(self._resampler.resample(None))
        self._encode([None])
        self._container.close()
        if self._whole is not None:
            self._sink.write(self._whole.getvalue())

    def _encode(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            for packet in self._stream.encode(frame):
                if self._needs_tag:
                    self._sink.write(info_frame(bytes(packet)))
                    self._needs_tag = False
                self._container.mux(packet)


class ResamplingEncoder(Encoder):
    """Resamples for an encoder that does not."""

    def __init__(self, encoder: Encoder, sampling_rate: int, encoded_rate: int) -> None:
        self._library = _av("wav")
        self._encoder, self._rate = encoder, sampling_rate
        self._resampler = self._library.AudioResampler(format="flt", layout="mono", rate=encoded_rate)
        self._position = 0  # samples written

    def write(self, samples: NDArray[np.float32]) -> None:
        if len(samples) == 0:
            return
        frame = self._library.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate, frame.pts = self._rate, self._position
        self._position += len(samples)
        self._write_frames(frame)

    def close(self) -> None:
        self._write_frames(None)
        self._encoder.close()

    def _write_frames(self, frame: Any) -> None:
        for resampled in self._resampler.resample(frame):
            self._encoder.write(resampled.to_ndarray()[0])


def _resampled(encoder: Encoder, sampling_rate: int, encoded_rate: int) -> Encoder:
    return encoder if sampling_rate == encoded_rate else ResamplingEncoder(encoder, sampling_rate, encoded_rate)


class _Append:
    """A sink as PyAV sees it that can only be appended to; a pipe has `seek`, but cannot."""

    def __init__(self, sink: BinaryIO) -> None:
        self.write = sink.write


def open_encoder(
    sink: BinaryIO,
    sampling_rate: int,
    audio_format: AudioFormat = "wav",
    wav_format: WavFormat = "int16",
    encoded_rate: int | None = None,
) -> Encoder:
    """Open an encoder that writes into `sink` from its current position. sampling_rate: of the samples, in Hz.

    encoded_rate: of the audio in the file, one that the format has; None: the lowest one that loses nothing.
    """
    if audio_format == "wav":
        rate = encoded_rate or sampling_rate
        return _resampled(WavEncoder(sink, rate, wav_format), sampling_rate, rate)
    return AvEncoder(sink, sampling_rate, audio_format, encoded_rate)


def encode_file(
    samples: NDArray[np.float32], sampling_rate: int, audio_format: AudioFormat, wav_format: WavFormat
) -> bytes:
    """Encode a complete file. sampling_rate: of the samples, in Hz."""
    content = io.BytesIO()
    encoder = open_encoder(content, sampling_rate, audio_format, wav_format)
    encoder.write(samples)
    encoder.close()
    return content.getvalue()


def open_raw_encoder(sink: BinaryIO, sampling_rate: int, encoded_rate: int) -> Encoder:
    """Open an encoder of bare int16 samples at another rate, in Hz."""
    return _resampled(RawEncoder(sink), sampling_rate, encoded_rate)


def supported_rates(audio_format: AudioFormat) -> tuple[int, ...]:
    """List the rates (Hz) in which a format can be written; () for any."""
    if audio_format == "wav":
        return ()
    codec = CODECS[audio_format]
    return tuple(sorted(_av(audio_format).Codec(codec.encoder, "w").audio_rates or codec.rates))


def encoder_delay(audio_format: AudioFormat, sampling_rate: int, encoded_rate: int | None = None) -> float:
    """Seconds by which decoded audio is later than the samples; the arguments are `open_encoder`'s."""
    codec = CODECS.get(audio_format)
    if codec is None or not codec.delay:
        return 0.0
    return codec.delay / (encoded_rate or _choose_rate(sampling_rate, codec.rates or supported_rates(audio_format)))


def _choose_rate(rate: int, supported: Iterable[int] | None) -> int:
    """Choose the lowest supported rate (Hz) that loses nothing, or the highest one."""
    rates = sorted(supported or [rate])
    return next((candidate for candidate in rates if candidate >= rate), rates[-1])


def _av(audio_format: AudioFormat) -> Any:
    try:
        import av
    except ImportError as error:
        raise RequestError(
            f"{audio_format}: needs PyAV; install it with: pip install 'tacoglow[formats]', or write a .wav file"
        ) from error
    return av
