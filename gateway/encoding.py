"""Encodes speech while it is made into the bytes that clients expect of each format."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import RequestError
from ..runtime.output.formats import encoder_delay, open_encoder, open_raw_encoder, supported_rates

StreamFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm", "ulaw", "alaw"]
FormatName = Literal[StreamFormat, "ogg", "oga", "g711_ulaw", "g711_alaw"]  # as requests name it
ALIASES: dict[FormatName, StreamFormat] = {"ogg": "opus", "oga": "opus", "g711_ulaw": "ulaw", "g711_alaw": "alaw"}
HERTZ_MIN, HERTZ_MAX = 8_000, 48_000  # of encoded audio
CLIENTS_RATE = 24_000  # Hz: the rate that every client assumes for pcm, and a rate of Opus
CONTENT_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "ulaw": "audio/PCMU",
    "alaw": "audio/PCMA",
}
SUFFIXES = {"opus": "ogg"}


@dataclass(frozen=True)
class Encoding:
    """A format and the rate of the encoded audio."""

    audio_format: StreamFormat
    rate: int  # Hz

    @classmethod
    def choose(cls, name: FormatName, rate: int | None, voice_rate: int) -> Encoding:
        """The encoding at the wanted rate (Hz), else at the format's; lossless and self-describing formats keep the
        voice's. Raises RequestError for a rate in which the format cannot be written.
        """
        audio_format = cast(StreamFormat, ALIASES.get(name, name))
        supported = () if audio_format == "pcm" else supported_rates(audio_format)
        if rate is None:
            rate = CLIENTS_RATE if audio_format in ("pcm", "opus") else voice_rate
            if supported and rate not in supported:
                rate = next((candidate for candidate in supported if candidate >= rate), supported[-1])
        elif supported and rate not in supported:
            usable = ", ".join(str(candidate) for candidate in supported if HERTZ_MIN <= candidate <= HERTZ_MAX)
            raise RequestError(f"sample_rate: expected one of {usable} Hz for {audio_format}, got {rate}")
        return cls(audio_format, rate)

    @property
    def delay(self) -> float:
        """Seconds by which the decoded audio is later than the samples."""
        return 0.0 if self.audio_format == "pcm" else encoder_delay(self.audio_format, self.rate, self.rate)

    @property
    def is_streamed(self) -> bool:
        """False for a format that has its length in front."""
        return self.audio_format != "flac"

    @property
    def content_type(self) -> str:
        if self.audio_format == "pcm":
            return f"audio/pcm;rate={self.rate};channels=1"
        return CONTENT_TYPES[self.audio_format]

    @property
    def file_name(self) -> str:
        return f"speech.{SUFFIXES.get(self.audio_format, self.audio_format)}"


class SegmentEncoder:
    """Turns segments into bytes, as many as the format gives out so far. For one thread at a time."""

    def __init__(self, encoding: Encoding, voice_rate: int, whole: bool = False) -> None:
        """whole: take everything at the end, so that the header of wav can be exact."""
        self._whole = whole
        self._sink = io.BytesIO() if whole and encoding.audio_format == "wav" else _Pipe()
        sink = cast(BinaryIO, self._sink)
        self._encoder = (
            open_raw_encoder(sink, voice_rate, encoding.rate)
            if encoding.audio_format == "pcm"
            else open_encoder(sink, voice_rate, encoding.audio_format, encoded_rate=encoding.rate)
        )

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        self._encoder.write(samples)
        return b"" if self._whole or len(samples) == 0 else self._take()

    def finish(self) -> bytes:
        """The last bytes; formats complete their last page or frame here."""
        self._encoder.close()
        return self._take()

    def _take(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Pipe) else self._sink.getvalue()


async def encode_segments(
    segments: AsyncIterator[NDArray[np.float32]], encoding: Encoding, voice_rate: int, whole: bool = False
) -> AsyncIterator[bytes]:
    """Encode outside of the event loop; yields no empty bytes."""
    encoder = SegmentEncoder(encoding, voice_rate, whole)
    async for samples in segments:
        if data := await anyio.to_thread.run_sync(encoder.encode, samples):
            yield data
    if data := await anyio.to_thread.run_sync(encoder.finish):
        yield data


class _Pipe(io.RawIOBase):
    """Collects what is written; like a pipe, it cannot seek."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]
        self._written += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
