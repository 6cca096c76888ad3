"""Encodes samples as mono wav data: 16-bit and 24-bit integers, 32-bit floats."""

from __future__ import annotations

import struct
from typing import Literal

import numpy as np
from numpy.typing import NDArray

WavFormat = Literal["int16", "int24", "float32"]
UNKNOWN_SIZE = 0xFFFFFFFF  # length in the header of a stream; players then read until the end
HEADER_BYTES = 44
PCM, IEEE_FLOAT = 1, 3  # wav's format codes
SAMPLE_BYTES = {"int16": 2, "int24": 3, "float32": 4}


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled: NDArray[np.float32] = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(32767.0))
    return scaled.astype(np.int16)


def encode(samples: NDArray[np.float32], wav_format: WavFormat) -> bytes:
    """Encode the little-endian sample data of a wav file; integers clip samples outside [-1, 1]."""
    if wav_format == "int16":
        return to_int16(samples).astype("<i2").tobytes()
    if wav_format == "int24":
        scaled = np.rint(np.clip(samples.astype(np.float64), -1.0, 1.0) * (2**23 - 1)).astype("<i4")
        return scaled.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()  # without the most significant byte
    return samples.astype("<f4").tobytes()


def wav_header(sampling_rate: int, wav_format: WavFormat, data_bytes: int | None) -> bytes:
    """Encode the header of a mono wav file. data_bytes: size of the samples, None if it is not known yet.

    Data of an odd size needs a zero byte after it.
    """
    width = SAMPLE_BYTES[wav_format]
    code = IEEE_FLOAT if wav_format == "float32" else PCM
    riff = UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes + data_bytes % 2
    if data_bytes is None or riff > UNKNOWN_SIZE:  # longer than a wav file can say
        data_bytes = riff = UNKNOWN_SIZE
    description = struct.pack("<HHIIHH", code, 1, sampling_rate, sampling_rate * width, width, 8 * width)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + description
        + b"data"
        + struct.pack("<I", data_bytes)
    )
