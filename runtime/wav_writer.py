"""Writes samples to a file or a pipe while they are being synthesized: `--stream` of trt-infer and tacoglow say."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .audio import WavFormat, to_int16
from .errors import RequestError
from .files import check_writable
from .vocoder import Samples

UNKNOWN_SIZE = 0xFFFFFFFF  # length in the header of a stream; players then read until the end
PCM, IEEE_FLOAT = 1, 3  # wav's format codes
SAMPLE_BYTES = {"int16": 2, "float32": 4}


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Open the file, or standard output for "-". Raises RequestError for a terminal or an unwritable path."""
    if str(path) == "-":
        if sys.stdout.isatty():
            raise RequestError("-o -: standard output is a terminal; pipe it into a player, or name a file with -o")
        yield sys.stdout.buffer
        return
    check_writable(path, "-o", is_folder=False)
    with path.open("wb") as file:
        yield file


def write_stream(
    streams: Iterable[Iterable[Samples]], header_rate: int | None, wav_format: WavFormat, sink: BinaryIO
) -> None:
    """Write the streams one after the other, with a wav header in front unless header_rate (Hz) is None.

    A seekable sink gets the final length in its header at the end. If the reader closes the pipe, synthesis stops
    without an error.
    """
    size = 0
    try:
        if header_rate is not None:
            sink.write(wav_header(header_rate, wav_format, None))
        for stream in streams:
            for samples in stream:
                size += sink.write(encode(samples, wav_format))
                sink.flush()
        if header_rate is not None and sink.seekable():
            sink.seek(0)
            sink.write(wav_header(header_rate, wav_format, size))
    except BrokenPipeError:
        # Python flushes standard output at exit, which would report the closed pipe as an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())


def encode(samples: Samples, wav_format: WavFormat) -> bytes:
    """The little-endian sample data of a wav file; int16 clips samples outside [-1, 1]."""
    return to_int16(samples).astype("<i2").tobytes() if wav_format == "int16" else samples.astype("<f4").tobytes()


def wav_header(sampling_rate: int, wav_format: WavFormat, data_bytes: int | None) -> bytes:
    """The 44-byte header of a mono wav file. data_bytes: size of the samples, None if it is not known yet."""
    width = SAMPLE_BYTES[wav_format]
    code = PCM if wav_format == "int16" else IEEE_FLOAT
    data = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = UNKNOWN_SIZE if data_bytes is None else data_bytes + 36
    description = struct.pack("<HHIIHH", code, 1, sampling_rate, sampling_rate * width, width, 8 * width)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + description
        + b"data"
        + struct.pack("<I", data)
    )
